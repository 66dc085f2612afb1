import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { TopkEntry, UnionPoint } from '../core/union.js';
import { fitUnionLaw } from '../theory/union-fit.js';
import { unionDensity } from '../theory/union.js';

export const TOPK_HEADER = 'layer,batch_size,optimal_k';
/** A table of 1,000 layers and 100 batch sizes is 2 MB; more is another file. */
const MAX_TABLE_BYTES = 16 * 1024 * 1024;
const MAX_LAYERS = 4096;

/** The authors' CSV format, sorted by batch size and layer. */
export function topkCsv(entries: readonly TopkEntry[]): string {
  const lines = entries
    .toSorted((a, b) => a.batchSize - b.batchSize || a.layer - b.layer)
    .map((e) => `${e.layer},${e.batchSize},${e.optimalK}`);
  return `${[TOPK_HEADER, ...lines].join('\n')}\n`;
}

/** Entries with the file and line they came from. */
interface Line extends TopkEntry {
  readonly where: string;
}

function parseLine(text: string, where: string): Line {
  const fields = text.split(',').map((f) => f.trim());
  if (fields.length !== 3) throw new TraceError(`Expected ${TOPK_HEADER} for ${where}, got ${quoted(text)}`);
  const [layer, batchSize, optimalK] = fields.map((field, i) => {
    const name = TOPK_HEADER.split(',')[i];
    const least = i === 0 ? 0 : 1;
    if (!/^\d{1,9}$/.test(field) || Number(field) < least) {
      throw new TraceError(`Expected an integer from ${least} for ${name} of ${where}, got ${quoted(field)}`);
    }
    return Number(field);
  });
  return { layer: layer ?? 0, batchSize: batchSize ?? 0, optimalK: optimalK ?? 0, where };
}

/**
 * Reads one CSV of `layer,batch_size,optimal_k`.
 * @param text content; a byte order mark, CR LF and empty lines at the end are allowed
 * @param origin file name for messages
 * @throws TraceError naming the line
 */
export function parseTopkCsv(text: string, origin: string): Line[] {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  while (lines.at(-1)?.trim() === '') lines.pop();
  const header = (lines[0] ?? '')
    .split(',')
    .map((f) => f.trim())
    .join(',');
  if (header !== TOPK_HEADER) {
    throw new TraceError(`Expected ${TOPK_HEADER} for line 1 of ${origin}, got ${quoted(lines[0])}`);
  }
  return lines.slice(1).map((line, i) => parseLine(line, `line ${i + 2} of ${origin}`));
}

/** k of every layer at the batch sizes of a table. */
export interface TopkTable {
  /** File or folder as named; untrusted text */
  readonly origin: string;
  readonly numLayers: number;
  /** Ascending */
  readonly batchSizes: readonly number[];
  /** [layer] k by batch size */
  readonly byBatch: ReadonlyMap<number, readonly number[]>;
}

/**
 * Puts the lines of one or several files together.
 * @throws TraceError for a repeated row or a missing layer
 */
export function makeTopkTable(lines: readonly Line[], origin: string): TopkTable {
  if (lines.length === 0) throw new TraceError(`Expected at least one row for ${origin}, got none`);
  const numLayers = Math.max(...new Set(lines.map((l) => l.layer))) + 1;
  if (numLayers > MAX_LAYERS) {
    const line = lines.find((l) => l.layer >= MAX_LAYERS);
    throw new TraceError(`Expected a layer below ${MAX_LAYERS} for ${line?.where}, got ${line?.layer}`);
  }
  const seen = new Map<number, Map<number, Line>>();
  for (const line of lines) {
    const layers = seen.get(line.batchSize) ?? new Map<number, Line>();
    seen.set(line.batchSize, layers);
    const before = layers.get(line.layer);
    if (before !== undefined) {
      throw new TraceError(
        `Expected layer ${line.layer} at batch size ${line.batchSize} once for ${line.where}, got it again`,
        { hint: `It is on ${before.where}.` },
      );
    }
    layers.set(line.layer, line);
  }
  const byBatch = new Map<number, number[]>();
  for (const batchSize of [...seen.keys()].toSorted((a, b) => a - b)) {
    const layers = seen.get(batchSize);
    const ks: number[] = [];
    for (let layer = 0; layer < numLayers; layer++) {
      const line = layers?.get(layer);
      if (line === undefined) {
        throw new TraceError(
          `Expected layers 0 to ${numLayers - 1} at batch size ${batchSize} for ${origin}, got no layer ${layer}`,
        );
      }
      ks.push(line.optimalK);
    }
    byBatch.set(batchSize, ks);
  }
  return { origin, numLayers, batchSizes: [...byBatch.keys()], byBatch };
}

function readTable(path: string): string {
  if (statSync(path).size > MAX_TABLE_BYTES) {
    throw new TraceError(`Expected at most ${MAX_TABLE_BYTES} bytes for ${quoted(path, 200)}, got more`);
  }
  return readFileSync(path, 'utf8');
}

/**
 * Loads `--mlp-topk`: one CSV, or a folder whose *.csv files are read together (the authors write one per batch size).
 * @throws TraceError naming file and line
 */
export function loadTopkTable(path: string): TopkTable {
  const origin = quoted(path, 200);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined || !(stat.isFile() || stat.isDirectory())) {
    throw new TraceError(`Expected a CSV file or a folder for --mlp-topk, got ${origin}`);
  }
  const files = stat.isFile()
    ? [path]
    : readdirSync(path)
        .filter((name) => name.endsWith('.csv') && statSync(join(path, name)).isFile())
        .toSorted()
        .map((name) => join(path, name));
  if (files.length === 0) {
    throw new TraceError(`Expected *.csv files for --mlp-topk, got none in ${origin}`);
  }
  return makeTopkTable(
    files.flatMap((file) => parseTopkCsv(readTable(file), quoted(file, 200))),
    origin,
  );
}

/** Neurons that an MLP computes, and where the number came from. */
export interface TopkNeurons {
  readonly activeNeurons: number;
  /** One entry per layer of the model */
  readonly layerActiveNeurons: readonly number[];
  /** `topk:<file>`, with a mark when the law filled in */
  readonly source: string;
}

function checkK(table: TopkTable, neurons: number): void {
  for (const [batchSize, ks] of table.byBatch) {
    const layer = ks.findIndex((k) => k > neurons);
    if (layer >= 0) {
      throw new TraceError(
        `Expected optimal_k up to ${neurons} (neurons) for layer ${layer} at batch size ${batchSize} of ${table.origin}, got ${ks[layer]}`,
      );
    }
  }
}

/**
 * k of every layer at a batch size: the table's, else by the union law fitted to the layer's k / D over the table's batch
 * sizes.
 */
export function topkPerLayer(
  table: TopkTable,
  neurons: number,
  batchSize: number,
): { readonly ks: readonly number[]; readonly interpolated: boolean } {
  checkK(table, neurons);
  const known = table.byBatch.get(batchSize);
  if (known !== undefined) return { ks: known, interpolated: false };
  const ks = Array.from({ length: table.numLayers }, (_, layer) => {
    const points: UnionPoint[] = [...table.byBatch].map(([b, list]) => ({
      batchSize: b,
      density: (list[layer] ?? 0) / neurons,
    }));
    const law = fitUnionLaw(points, 'beta-binomial')?.law;
    const k = law === undefined ? neurons : Math.round(unionDensity(law, batchSize) * neurons);
    return Math.min(neurons, Math.max(1, k));
  });
  return { ks, interpolated: true };
}

/**
 * Active neurons: k of every layer, and for a single MLP the layers' k averaged and rounded.
 *
 * @param table of `loadTopkTable`
 * @param model D and the number of layers; a table of another number of layers belongs to another model
 * @throws TraceError when k exceeds D or the layers do not match
 */
export function topkNeuronsFor(
  table: TopkTable,
  model: { readonly name: string; readonly intermediateSize: number; readonly numLayers: number },
  batchSize: number,
): TopkNeurons {
  if (table.numLayers !== model.numLayers) {
    throw new TraceError(
      `Expected ${model.numLayers} layers (${quoted(model.name)}) for ${table.origin}, got ${table.numLayers}`,
    );
  }
  const { ks, interpolated } = topkPerLayer(table, model.intermediateSize, batchSize);
  const mean = ks.reduce((a, b) => a + b, 0) / ks.length;
  const mark = interpolated ? ` (batch ${batchSize} by the law)` : '';
  const source = `topk:${table.origin.slice(1, -1)}${mark}`;
  return { activeNeurons: Math.max(1, Math.round(mean)), layerActiveNeurons: ks, source };
}

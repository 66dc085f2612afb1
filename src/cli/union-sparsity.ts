import { join } from 'node:path';

import { loadAddon } from '../backends/native/addon.js';
import { activeCount } from '../core/cell.js';
import { EXIT, UsageError } from '../core/errors.js';
import type { UnionRow } from '../core/union.js';
import { lawRows } from '../report/union-rows.js';
import { csvText } from '../sinks/csv.js';
import { replaceFile } from '../sinks/durable.js';
import { prepareFolder } from '../sinks/folder.js';
import { standalone } from '../sinks/plot-style.js';
import { unionByBatchSvg, unionByLayerSvg } from '../sinks/plots-union.js';
import { unionCsv } from '../sinks/union-text.js';
import { headStatistics, type LayerHeads } from '../traces/heads.js';
import { TOKENS_PER_SEQUENCE, writeSyntheticTrace } from '../traces/synthetic.js';
import { plainTable } from './plain-table.js';
import { abortOnSignals } from './signals.js';
import { gigabytes, say, warn, type Terminal } from './terminal.js';
import { collectUnion, type UnionData } from './union-data.js';
import { chosenRows, printUnion } from './union-print.js';
import { unionInvocation, type UnionInvocation } from './union-request.js';

/** Plots of single layers get crowded beyond this. */
const MAX_PLOTTED_LAYERS = 5;
const PLOT_BATCHES = Array.from({ length: 13 }, (_, i) => 2 ** i);

/** The layers asked for, else some spread over those that have every point. */
function plottedLayers(data: UnionData, invocation: UnionInvocation): number[] {
  if (invocation.layers !== null) return invocation.layers.slice(0, MAX_PLOTTED_LAYERS);
  const gaps = new Set(data.own.filter((r) => r.union_density_mean === null).map((r) => r.layer));
  const whole = data.fits.map((f) => f.layer).filter((layer) => !gaps.has(layer));
  const pick = (share: number): number | undefined => whole[Math.floor(share * (whole.length - 1))];
  return [...new Set([0, 0.25, 0.5, 0.75, 1].map(pick))].filter((n) => n !== undefined);
}

async function writePlots(data: UnionData, invocation: UnionInvocation, folder: string): Promise<void> {
  if (data.fits.length === 0) return;
  const name = data.model.replaceAll(/[^\w.-]+/g, '-').slice(0, 60);
  const shown: readonly UnionRow[] = data.own.length > 0 ? data.own : data.law;
  replaceFile(
    join(folder, `union-by-layer-${name}.svg`),
    standalone(await unionByLayerSvg(data.model, data.source, shown)),
  );
  const layers = plottedLayers(data, invocation);
  const last = Math.max(1, ...data.own.map((r) => r.batch_size));
  const batches = [...new Set([...PLOT_BATCHES, last])].toSorted((a, b) => a - b);
  const common = { model: data.model, source: data.source, neurons: data.neurons };
  const law = lawRows(common, data.fits, batches, layers);
  const points = data.own.filter((r) => typeof r.layer === 'number' && layers.includes(r.layer));
  replaceFile(
    join(folder, `union-by-batch-${name}.svg`),
    standalone(await unionByBatchSvg(data.model, data.source, points, law, last)),
  );
}

/** Head statistics of a trace that has head norms; empty for one that has none. */
function headsOf(data: UnionData, invocation: UnionInvocation): LayerHeads[] {
  const norms = data.trace?.layers.find((l) => l.headNorms !== null)?.headNorms;
  if (data.trace === null || norms === undefined || norms === null) return [];
  return headStatistics(data.trace, {
    topK: activeCount(invocation.headDensity, norms.columns),
    batchSizes: invocation.batchSizes.filter((b) => b <= norms.tokens),
    trials: invocation.trials,
    seed: invocation.seed,
  });
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
const percent = (share: number): string => (100 * share).toFixed(1);

async function printHeads(heads: readonly LayerHeads[], terminal: Terminal): Promise<void> {
  const [first] = heads;
  if (first === undefined) return;
  const lines = first.batches.map(({ batchSize, kvShare }, i) => [
    String(batchSize),
    percent(kvShare),
    percent(mean(heads.map((h) => h.batches[i]?.unionShare ?? 0))),
  ]);
  const overlaps = heads.flatMap((h) => (h.overlap === null ? [] : [h.overlap]));
  const overlap = overlaps.length === 0 ? '-' : `${percent(mean(overlaps))} %`;
  terminal.stdout.write(
    `Heads, mean of ${heads.length} layers; two tokens share ${overlap} of their heads. What each sequence reads of its own KV cache does not depend on the batch:\n`,
  );
  terminal.stdout.write(await plainTable(['batch', 'KV read %', 'union of heads %'], lines));
}

async function writeTrace(data: UnionData, invocation: UnionInvocation, terminal: Terminal): Promise<number> {
  const path = invocation.writeTrace ?? '';
  const layers = data.fits.flatMap(({ layer, fit }) =>
    fit !== null && (invocation.layers === null || invocation.layers.includes(layer))
      ? [{ layer, law: fit.law }]
      : [],
  );
  if (data.neurons === null) {
    throw new UsageError('Expected --neurons with --alpha and --beta for --write-trace, got none', {
      hint: 'Give D, the neurons of one layer.',
    });
  }
  const native = loadAddon();
  const { signal, dispose } = abortOnSignals([{ close: async () => native.traceAbort() }]);
  try {
    const trace = {
      model: data.model,
      intermediateSize: data.neurons,
      layers,
      tokens: invocation.tokens,
      correlation: invocation.correlation,
      tokensPerSequence: TOKENS_PER_SEQUENCE,
      seed: invocation.seed,
      threads: invocation.threads,
    };
    const said = (done: number): void => say(terminal, `layer ${done} of ${layers.length}`);
    const bytes = await writeSyntheticTrace(trace, path, native, said, signal);
    say(terminal, `wrote ${path}: ${layers.length} layers, ${invocation.tokens} tokens, ${gigabytes(bytes)}`);
    return EXIT.ok;
  } catch (error) {
    if (!signal.aborted) throw error;
    warn(terminal, 'interrupted: no trace was written');
    return EXIT.interrupted;
  } finally {
    dispose();
  }
}

function oneForWriting(data: readonly UnionData[], invocation: UnionInvocation): UnionData {
  const [only] = data;
  if (only === undefined || invocation.bare || data.length > 1) {
    throw new UsageError('Expected one --model, or --alpha, --beta and --neurons for --write-trace', {
      hint: 'A trace is drawn from the law of one model.',
    });
  }
  return only;
}

/** `polar-bench union-sparsity` */
export async function unionSparsity(
  options: Readonly<Record<string, unknown>>,
  outer: Terminal,
): Promise<number> {
  const invocation = unionInvocation(options);
  const terminal = { ...outer, quiet: invocation.quiet };
  const folder = invocation.out === null ? null : prepareFolder(invocation.out);
  const data = await collectUnion(invocation, loadAddon, (done, all) =>
    say(terminal, `layer ${done} of ${all}`),
  );
  if (invocation.writeTrace !== null) {
    return writeTrace(oneForWriting(data, invocation), invocation, terminal);
  }
  for (const row of data.flatMap((d) => d.own)) {
    if (row.warnings?.includes('NaN') === true && row.batch_size === invocation.batchSizes[0]) {
      warn(terminal, `${row.model} layer ${row.layer}: ${row.warnings}`);
    }
  }
  await printUnion(data, invocation, terminal);
  const heads = data.flatMap((entry) => headsOf(entry, invocation));
  if (invocation.format === 'table') await printHeads(heads, terminal);
  if (folder !== null) {
    replaceFile(join(folder.path, 'union.csv'), unionCsv(chosenRows(data, invocation)));
    for (const entry of data) await writePlots(entry, invocation, folder.path);
    if (heads.length > 0) {
      const counts = heads.flatMap((h) => h.counts.map((n, head) => [h.layer, head, n, h.tokens]));
      replaceFile(
        join(folder.path, 'heads.csv'),
        csvText([['layer', 'head', 'tokens_selected', 'tokens'], ...counts]),
      );
    }
    say(terminal, `results in ${folder.path}`);
  }
  return EXIT.ok;
}

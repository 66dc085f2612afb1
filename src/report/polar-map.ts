import { type Variant, VARIANTS } from '../core/cell.js';
import { crossingOf } from '../core/crossing.js';
import type { Ceilings } from '../core/environment.js';
import type { ModelShape } from '../core/model-shape.js';
import type { Row } from '../core/row.js';
import { predictStep, type StepDensities } from '../theory/decode-step.js';

/**
 * The polar map of one model: over batch size and context length, which variant wins, by how much, and which of the two
 * sparsities is the stronger lever.
 */
export interface PolarMap {
  readonly model: string;
  /**
   * `step`: whole decode steps were measured; `kernels`: the sum of one layer's attention and MLP kernels was, without
   * projections and routers; `predicted`: nothing was, every part runs at its roofline.
   */
  readonly basis: 'step' | 'kernels' | 'predicted';
  /** Device as it calls itself, or the device file of a prediction; untrusted text */
  readonly device: string;
  readonly cells: readonly PolarCell[];
  /** For each length the batch size from which on head sparsity saves more than MLP sparsity; null: never or always */
  readonly crossover: readonly { readonly kvLen: number; readonly batchSize: number | null }[];
}

export interface PolarCell {
  readonly batchSize: number;
  readonly kvLen: number;
  /** Microseconds, a sparse variant's by its paired speedup; null for a variant that is not there */
  readonly times: Readonly<Record<Variant, number | null>>;
  readonly winner: Variant;
  /** Time of dense over time of the winner; 1 where dense wins */
  readonly speedup: number;
  /** Time of mlp-sparse over time of head-sparse: above 1 head sparsity is the stronger lever; null where one is missing */
  readonly lever: number | null;
  /** Lines of rows.csv behind it, 1 = header; empty for a prediction */
  readonly rows: readonly number[];
}

interface Numbered {
  readonly row: Row;
  readonly line: number;
}

/** A time and the rows that it comes from. */
interface Time {
  readonly us: number;
  readonly lines: readonly number[];
}

type Times = Readonly<Record<Variant, Time | null>>;

const sum = (a: Time | null, b: Time | null): Time | null =>
  a === null || b === null ? null : { us: a.us + b.us, lines: [...a.lines, ...b.lines] };

/** Rows that compute less than everything by the model's own density; else by the only one that was asked for. */
function ownDensity(rows: readonly Numbered[]): Numbered[] {
  const own = rows.filter(({ row }) => row.density_source !== 'flag');
  const densities = new Set(rows.map(({ row }) => `${row.active_heads} ${row.active_neurons}`));
  return own.length > 0 ? own : densities.size === 1 ? [...rows] : [];
}

/** A row's time from the paired ratio of its cell: medians of a shared machine drift apart, ratios of one round do not. */
function timeOf({ row, line }: Numbered, dense: Time | null): Time[] {
  if (row.status !== 'ok' || row.latency_us_median === null) return [];
  const paired = dense === null || row.speedup === null ? row.latency_us_median : dense.us / row.speedup;
  return [{ us: paired, lines: [line] }];
}

const fastest = (times: readonly Time[]): Time | null =>
  times.length === 0 ? null : times.reduce((a, b) => (b.us < a.us ? b : a));

const dense = (rows: readonly Numbered[]): Time | null =>
  fastest(rows.filter(({ row }) => row.variant === 'dense').flatMap((r) => timeOf(r, null)));
const sparse = (rows: readonly Numbered[], variant: Variant): Time | null => {
  const base = dense(rows);
  const own = ownDensity(rows.filter(({ row }) => row.variant === variant));
  return fastest(own.flatMap((r) => timeOf(r, base)));
};

function polarCell(batchSize: number, kvLen: number, times: Times): PolarCell | null {
  const base = times.dense;
  if (base === null || VARIANTS.every((v) => v === 'dense' || times[v] === null)) return null;
  const there = VARIANTS.flatMap((variant) => {
    const time = times[variant];
    return time === null ? [] : [{ variant, ...time }];
  });
  const best = there.reduce((a, b) => (b.us < a.us ? b : a));
  const [mlp, heads] = [times['mlp-sparse'], times['head-sparse']];
  return {
    batchSize,
    kvLen,
    times: Object.fromEntries(VARIANTS.map((v) => [v, times[v]?.us ?? null])) as PolarCell['times'],
    winner: best.variant,
    speedup: base.us / best.us,
    lever: mlp === null || heads === null ? null : mlp.us / heads.us,
    rows: [...new Set(there.flatMap((t) => t.lines))].toSorted((a, b) => a - b),
  };
}

function crossovers(cells: readonly PolarCell[]): PolarMap['crossover'] {
  const lengths = [...new Set(cells.map((c) => c.kvLen))].toSorted((a, b) => a - b);
  return lengths.map((kvLen) => {
    const series = cells.flatMap((c) =>
      c.kvLen === kvLen && c.lever !== null ? [{ x: c.batchSize, value: c.lever }] : [],
    );
    return { kvLen, batchSize: crossingOf(series) };
  });
}

function mapOf(
  about: Pick<PolarMap, 'model' | 'basis' | 'device'>,
  cells: (PolarCell | null)[],
): PolarMap | null {
  const there = cells
    .filter((c) => c !== null)
    .toSorted((a, b) => a.kvLen - b.kvLen || a.batchSize - b.batchSize);
  return there.length === 0 ? null : { ...about, cells: there, crossover: crossovers(there) };
}

const placesOf = (rows: readonly Numbered[]): { batchSize: number; kvLen: number }[] => {
  const places = new Map<string, { batchSize: number; kvLen: number }>();
  for (const { row } of rows) {
    if (row.kv_len === null) continue;
    places.set(`${row.batch_size} ${row.kv_len}`, { batchSize: row.batch_size, kvLen: row.kv_len });
  }
  return [...places.values()];
};

function stepCell(rows: readonly Numbered[], batchSize: number, kvLen: number): PolarCell | null {
  const here = rows.filter(({ row }) => row.batch_size === batchSize && row.kv_len === kvLen);
  const times = {
    dense: dense(here),
    'mlp-sparse': sparse(here, 'mlp-sparse'),
    'head-sparse': sparse(here, 'head-sparse'),
    polar: sparse(here, 'polar'),
  };
  return polarCell(batchSize, kvLen, times);
}

function kernelCell(
  attention: readonly Numbered[],
  mlp: readonly Numbered[],
  batchSize: number,
  kvLen: number,
): PolarCell | null {
  const heads = attention.filter(({ row }) => row.batch_size === batchSize && row.kv_len === kvLen);
  const neurons = mlp.filter(({ row }) => row.batch_size === batchSize);
  const [denseHeads, sparseHeads] = [dense(heads), sparse(heads, 'head-sparse')];
  const [denseMlp, sparseMlp] = [dense(neurons), sparse(neurons, 'mlp-sparse')];
  return polarCell(batchSize, kvLen, {
    dense: sum(denseHeads, denseMlp),
    'mlp-sparse': sum(denseHeads, sparseMlp),
    'head-sparse': sum(sparseHeads, denseMlp),
    polar: sum(sparseHeads, sparseMlp),
  });
}

/**
 * The maps that a result folder's rows hold, one per model: of decode steps where these were measured, else of the sum
 * of attention and MLP kernels; none where only one of the two was measured.
 *
 * @param rows in the order of rows.csv
 */
export function measuredPolarMaps(rows: readonly Row[]): PolarMap[] {
  const numbered = rows.map((row, i): Numbered => ({ row, line: i + 2 }));
  const models = [...new Set(rows.map((row) => row.model))];
  return models.flatMap((model) => {
    const own = numbered.filter(({ row }) => row.model === model);
    const device = own[0]?.row.device ?? '';
    // Rows carry scopes as words: a folder may hold scopes that this version does not measure.
    const of = (scope: string): Numbered[] => own.filter(({ row }) => (row.scope as string) === scope);
    const [steps, attention, mlp] = [of('step'), of('attention'), of('mlp')];
    const step = mapOf(
      { model, device, basis: 'step' },
      placesOf(steps).map(({ batchSize, kvLen }) => stepCell(steps, batchSize, kvLen)),
    );
    const kernels = mapOf(
      { model, device, basis: 'kernels' },
      placesOf(attention).map(({ batchSize, kvLen }) => kernelCell(attention, mlp, batchSize, kvLen)),
    );
    const map = step ?? kernels;
    return map === null ? [] : [map];
  });
}

/** Ceilings of a device that is not at hand. */
export interface DeviceSpec {
  readonly name: string;
  readonly readGbPerS: number;
  readonly matrixTflopPerS: number;
  /** Datasheet or measurement */
  readonly source: string;
}

/** Batch sizes and lengths of a predicted map. */
export const PREDICTED_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256] as const;
export const PREDICTED_LENGTHS = [512, 1024, 2048, 4096, 8192, 16384, 32768] as const;

/**
 * What the roofline says of a device that is not at hand: every part of a decode step at its bound, on dense and sparse
 * alike. A prediction, never to be mixed with measured rows.
 *
 * @param densitiesAt densities of the model at a batch size
 */
export function predictedPolarMap(
  model: ModelShape,
  spec: DeviceSpec,
  densitiesAt: (batchSize: number) => StepDensities,
): PolarMap {
  const roofs: Pick<Ceilings, 'readGbPerS' | 'matrixTflopPerS'> = spec;
  const cells = PREDICTED_LENGTHS.flatMap((kvLen) =>
    PREDICTED_BATCHES.map((batchSize) => {
      const densities = densitiesAt(batchSize);
      const times = Object.fromEntries(
        VARIANTS.map((variant): [Variant, Time | null] => {
          const step = predictStep(model, variant, batchSize, kvLen, densities, roofs);
          return [variant, step === null ? null : { us: step.totalUs, lines: [] }];
        }),
      ) as Times;
      return polarCell(batchSize, kvLen, times);
    }),
  );
  const map = mapOf({ model: model.name, basis: 'predicted', device: spec.name }, cells);
  // Dense and head-sparse exist for every model, so there is always a cell.
  return map ?? { model: model.name, basis: 'predicted', device: spec.name, cells: [], crossover: [] };
}

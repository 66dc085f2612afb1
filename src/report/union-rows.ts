import type { MeasuredUnion, UnionCurves, UnionRow } from '../core/union.js';
import type { LayerFit } from '../theory/union-curves.js';
import { unionDensity } from '../theory/union.js';

/** Columns of union-sparsity, in order. */
export const UNION_COLUMNS: readonly (keyof UnionRow)[] = [
  'model',
  'layer',
  'batch_size',
  'union_density_mean',
  'union_density_std',
  'active_neurons_mean',
  'trials',
  'source',
  'law_alpha',
  'law_beta',
  'warnings',
];

interface Common {
  readonly model: string;
  readonly source: string;
  /** D; null where only a law is given */
  readonly neurons: number | null;
}

function makeRow(common: Common, layer: number, batchSize: number, density: number | null): UnionRow {
  return {
    model: common.model,
    layer,
    batch_size: batchSize,
    union_density_mean: density,
    union_density_std: null,
    active_neurons_mean: density === null || common.neurons === null ? null : density * common.neurons,
    trials: null,
    source: common.source,
    law_alpha: null,
    law_beta: null,
    warnings: null,
  };
}

/**
 * The mean over layers at each batch size, over those layers that have a value; the row says when some have none.
 * @param rows rows of single layers
 */
export function meanRows(rows: readonly UnionRow[]): UnionRow[] {
  const batches = [...new Set(rows.map((r) => r.batch_size))];
  return batches.map((batchSize) => {
    const all = rows.filter((r) => r.batch_size === batchSize);
    const there = all.filter((r) => r.union_density_mean !== null);
    const mean = (key: 'union_density_mean' | 'active_neurons_mean'): number | null => {
      const values = there.map((r) => r[key]).filter((v) => v !== null);
      return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
    };
    const trials = there.map((r) => r.trials).filter((v) => v !== null);
    return {
      model: all[0]?.model ?? '',
      layer: 'mean' as const,
      batch_size: batchSize,
      union_density_mean: mean('union_density_mean'),
      union_density_std: null,
      active_neurons_mean: mean('active_neurons_mean'),
      trials: trials.length === 0 ? null : Math.min(...trials),
      source: all[0]?.source ?? '',
      law_alpha: null,
      law_beta: null,
      warnings: there.length < all.length ? `mean of ${there.length} of ${all.length} layers` : null,
    };
  });
}

const wanted = (layers: readonly number[] | null, layer: number): boolean =>
  layers === null || layers.includes(layer);

/**
 * Rows of curves as they are; a batch size that they lack, or a point that a figure hides, has no density and says so.
 * @param layers null: all
 */
export function curveRows(
  curves: UnionCurves,
  batchSizes: readonly number[],
  layers: readonly number[] | null,
): UnionRow[] {
  const common = {
    model: curves.model,
    source: `published:${curves.source}`,
    neurons: curves.intermediateSize,
  };
  return curves.layers
    .filter(({ layer }) => wanted(layers, layer))
    .flatMap(({ layer, points }) =>
      batchSizes.map((batchSize) => {
        const density = points.find((p) => p.batchSize === batchSize)?.density ?? null;
        const row = makeRow(common, layer, batchSize, density);
        return density === null ? { ...row, warnings: 'not published' } : row;
      }),
    );
}

/**
 * Rows of the laws fitted to the layers of a model.
 * @param common model, source text and D
 */
export function lawRows(
  common: Common,
  fits: readonly LayerFit[],
  batchSizes: readonly number[],
  layers: readonly number[] | null,
): UnionRow[] {
  return fits
    .filter(({ layer }) => wanted(layers, layer))
    .flatMap(({ layer, fit }) =>
      batchSizes.map((batchSize) => {
        const law = fit?.law ?? null;
        const row = makeRow(common, layer, batchSize, law === null ? null : unionDensity(law, batchSize));
        const largest = Math.max(...(fit?.fittedOn ?? [batchSize]));
        const warnings = [
          ...(fit?.warnings ?? ['no point to fit']),
          ...(fit !== null && batchSize > largest ? [`extrapolated from batch ${largest}`] : []),
        ];
        return {
          ...row,
          law_alpha: law?.kind === 'beta-binomial' ? law.alpha : null,
          law_beta: law?.kind === 'beta-binomial' ? law.beta : null,
          warnings: warnings.length === 0 ? null : warnings.join('; '),
        };
      }),
    );
}

/** Rows of a measured trace, with the standard deviation over its random batches. */
export function measuredRows(measured: MeasuredUnion): UnionRow[] {
  const common = { model: measured.model, source: measured.source, neurons: measured.intermediateSize };
  return measured.layers.flatMap(({ layer, points, warnings }) =>
    points.map((p) => ({
      ...makeRow(common, layer, p.batchSize, p.density),
      union_density_std: p.std,
      trials: p.trials,
      warnings: warnings.length === 0 ? null : warnings.join('; '),
    })),
  );
}

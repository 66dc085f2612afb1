import type { UnionCurves, UnionLaw, UnionLayer } from '../core/union.js';
import { fitUnionLaw, type LawFit } from '../theory/union-fit.js';
import { unionDensity } from '../theory/union.js';
import { publishedTopkMean, publishedUnion } from './published.js';

/** A density in (0, 1] and what the column density_source says about it. */
export interface SourcedDensity {
  readonly density: number;
  readonly source: string;
}

/** Fewer neurons than this are no work for a kernel; digitized curves read 0.0 there anyway. */
export const MIN_ACTIVE_NEURONS = 16;

/** Density of every layer at one batch size. */
export interface LayerDensities {
  /** One per layer of the curves, in (0, 1] */
  readonly densities: readonly number[];
  /** Layers whose value is the law's because the curve has none, or reads 0 */
  readonly byLaw: number;
  /** The whole batch size is not in the curves */
  readonly interpolated: boolean;
}

const fits = new WeakMap<UnionLayer, LawFit>();

/** The law fitted to all points of a layer; null for a layer without any point. */
function lawOf(layer: UnionLayer): UnionLaw | null {
  const known = fits.get(layer);
  if (known !== undefined) return known.law;
  const fit = fitUnionLaw(layer.points, 'beta-binomial');
  if (fit !== null) fits.set(layer, fit);
  return fit?.law ?? null;
}

/**
 * What the curves say about each layer at a batch size: the curve's own value, else the law fitted to the layer, at least
 * MIN_ACTIVE_NEURONS neurons. A layer without any point takes the mean of the others.
 *
 * @param batchSize B, integer >= 1, published or not
 */
export function layerDensities(curves: UnionCurves, batchSize: number): LayerDensities {
  const floor = Math.min(1, MIN_ACTIVE_NEURONS / curves.intermediateSize);
  let byLaw = 0;
  const values = curves.layers.map((layer) => {
    const point = layer.points.find((p) => p.batchSize === batchSize)?.density ?? null;
    if (point !== null && point > 0) return Math.max(floor, point);
    byLaw++;
    const law = lawOf(layer);
    return law === null ? null : Math.max(floor, unionDensity(law, batchSize));
  });
  const there = values.filter((v) => v !== null);
  const mean = there.reduce((a, b) => a + b, 0) / there.length;
  return {
    densities: values.map((v) => v ?? mean),
    byLaw,
    interpolated: !curves.batchSizes.includes(batchSize),
  };
}

/** "Polar Sparsity (...), Fig. 2a" of the longer text that a curve's file carries; a source ends up in every row. */
function shortSource(source: string): string {
  return source.split(';')[0] ?? source;
}

function describe(curves: UnionCurves, batchSize: number, result: LayerDensities): string {
  const origin = shortSource(curves.source);
  if (result.interpolated) {
    const largest = curves.batchSizes.at(-1) ?? 0;
    const how =
      batchSize > largest ? `extrapolated from batch ${largest}` : `batch ${batchSize} interpolated`;
    return `published:${origin} (${how} by the law)`;
  }
  const total = curves.layers.length;
  const marked = result.byLaw > 0 ? ` (${result.byLaw} of ${total} layers by the law)` : '';
  return `published:${origin}${marked}`;
}

interface NamedMlp {
  readonly name: string;
  readonly intermediateSize: number;
}

function curvesOf(model: NamedMlp): UnionCurves | null {
  const curves = publishedUnion(model.name);
  // A model that only shares its name with a published one has another union.
  return curves !== null && curves.intermediateSize === model.intermediateSize ? curves : null;
}

/**
 * Default MLP density of scope mlp: the mean over layers of the published union curve at a batch size, by the law (and
 * marked so) where the batch size is not published.
 *
 * @param model name and D
 * @param batchSize B, integer >= 1
 * @returns null where no curve of the model is published
 */
export function mlpDensityFor(model: NamedMlp, batchSize: number): SourcedDensity | null {
  const curves = curvesOf(model);
  return curves === null ? null : meanDensity(curves, batchSize);
}

/** The mean over layers of any curves, published or measured, at a batch size. */
export function meanDensity(curves: UnionCurves, batchSize: number): SourcedDensity {
  const result = layerDensities(curves, batchSize);
  const density = meanOf(result.densities);
  return { density, source: describe(curves, batchSize, result) };
}

/** Mean density of the authors' top-k tables at a batch size. */
interface RouterMean {
  readonly mean: number;
  /** "scaled to mean 0.49 of the authors' top-k table" */
  readonly how: string;
}

/**
 * What the authors' router computes at a batch size: the table's mean; between two batch sizes of the table a line over
 * log2(B); past its end the last mean, growing as the union does.
 *
 * @param unionAt mean union at a batch size; null where no curve is published
 */
function routerMean(
  points: readonly { readonly batchSize: number; readonly density: number }[],
  batchSize: number,
  unionAt: ((batchSize: number) => number) | null,
): RouterMean | null {
  const exact = points.find((p) => p.batchSize === batchSize);
  if (exact !== undefined)
    return { mean: exact.density, how: `mean ${exact.density} of the authors' top-k table` };
  const below = points.findLast((p) => p.batchSize < batchSize);
  const above = points.find((p) => p.batchSize > batchSize);
  if (below === undefined) return null;
  if (above === undefined) {
    const growth = unionAt === null ? 1 : unionAt(batchSize) / unionAt(below.batchSize);
    const how = `the authors' top-k mean extrapolated from batch ${below.batchSize}`;
    return { mean: Math.min(1, below.density * growth), how };
  }
  const share = Math.log2(batchSize / below.batchSize) / Math.log2(above.batchSize / below.batchSize);
  const mean = below.density + share * (above.density - below.density);
  const how = `the authors' top-k mean between batches ${below.batchSize} and ${above.batchSize}`;
  return { mean, how };
}

const meanOf = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/**
 * Densities of all layers for the scopes layer and step. `union` is the published curve. `router` scales it to the mean
 * density of the authors' top-k tables, because that is what their router runs; a layer never exceeds 1. A model with a
 * table and without a curve has the table's mean in every layer.
 *
 * @param model name, D and the number of layers; what only shares its name with a published model has another union
 * @param batchSize B, integer >= 1
 * @returns null where nothing of the model is published
 */
export function layerMlpDensitiesFor(
  model: NamedMlp & { readonly numLayers: number },
  batchSize: number,
  kind: 'union' | 'router',
): { readonly densities: readonly number[]; readonly source: string } | null {
  const named = curvesOf(model);
  const curves = named === null || named.layers.length !== model.numLayers ? null : named;
  const points =
    kind === 'router' && (curves !== null || publishedUnion(model.name) === null)
      ? (publishedTopkMean(model.name)?.points ?? [])
      : [];
  const unionAt = curves === null ? null : (b: number) => meanOf(layerDensities(curves, b).densities);
  const target = routerMean(points, batchSize, unionAt);
  if (curves === null) {
    if (target === null) return null;
    const densities = Array.from({ length: model.numLayers }, () => target.mean);
    return { densities, source: `published:${target.how}, in every layer` };
  }
  const result = layerDensities(curves, batchSize);
  const source = describe(curves, batchSize, result);
  if (target === null) return { densities: result.densities, source };
  return {
    densities: scaleToMean(result.densities, target.mean),
    source: `${source}, scaled to ${target.how}`,
  };
}

/** Multiplies densities so that their mean is `target`; layers that reach 1 stay there and the others make up for it. */
export function scaleToMean(densities: readonly number[], target: number): number[] {
  let low = 0;
  let high = 1 / Math.min(...densities);
  const scaled = (factor: number): number[] => densities.map((d) => Math.min(1, d * factor));
  // The mean rises with the factor, so bisection finds it; 100 halvings are past double precision.
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (meanOf(scaled(middle)) < target) low = middle;
    else high = middle;
  }
  return scaled(high);
}

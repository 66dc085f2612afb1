/** Union of active neurons against batch size: what theory fits, traces measure, report and sinks show. */

/** One layer at one batch size; densities are fractions 0..1. */
export interface UnionPoint {
  /** B, sequences decoded together */
  readonly batchSize: number;
  /** Share of the layer's neurons that at least one sequence of the batch activates; null = not available */
  readonly density: number | null;
}

/** Measured or published union of one model. */
export interface UnionCurves {
  /** Untrusted text when it comes from a trace */
  readonly model: string;
  /** Figure, file or law the numbers come from */
  readonly source: string;
  /** D, neurons per layer */
  readonly intermediateSize: number;
  /** Ascending */
  readonly batchSizes: readonly number[];
  readonly layers: readonly UnionLayer[];
}

export interface UnionLayer {
  /** Counted from 0 */
  readonly layer: number;
  /** In the order of `batchSizes` of the curves */
  readonly points: readonly UnionPoint[];
}

/** What a trace says about one layer at one batch size; densities are fractions 0..1. */
export interface MeasuredPoint {
  readonly batchSize: number;
  readonly density: number;
  /** Sample standard deviation over the batches; null where there was one batch */
  readonly std: number | null;
  readonly trials: number;
}

export interface MeasuredLayer {
  readonly layer: number;
  readonly points: readonly MeasuredPoint[];
  readonly tokens: number;
  readonly warnings: readonly string[];
}

export interface MeasuredUnion {
  readonly model: string;
  readonly source: string;
  /** D */
  readonly intermediateSize: number;
  readonly layers: readonly MeasuredLayer[];
}

/** Neurons activate independently with one probability. */
export interface IndependentLaw {
  readonly kind: 'independent';
  /** p in [0, 1] */
  readonly p: number;
}

/** Every neuron has a probability of its own, Beta(alpha, beta) distributed over the neurons of the layer. */
export interface BetaBinomialLaw {
  readonly kind: 'beta-binomial';
  readonly alpha: number;
  readonly beta: number;
}

export type UnionLaw = IndependentLaw | BetaBinomialLaw;
export const UNION_LAWS = ['beta-binomial', 'independent'] as const;
export type UnionLawKind = (typeof UNION_LAWS)[number];

export const UNION_SOURCES = ['published', 'law', 'trace'] as const;
export type UnionSource = (typeof UNION_SOURCES)[number];

/** One line of `union-sparsity`: a layer (or the mean over layers) at a batch size. null = not available. */
export interface UnionRow {
  model: string;
  layer: number | 'mean';
  batch_size: number;
  /** Fraction 0..1 */
  union_density_mean: number | null;
  /** Standard deviation over the batches that were drawn; null where there were fewer than two */
  union_density_std: number | null;
  active_neurons_mean: number | null;
  trials: number | null;
  source: string;
  law_alpha: number | null;
  law_beta: number | null;
  warnings: string | null;
}

/** One line of a top-k table, the paper authors' CSV format. */
export interface TopkEntry {
  readonly layer: number;
  readonly batchSize: number;
  /** Neurons the router must select, 1..D */
  readonly optimalK: number;
}

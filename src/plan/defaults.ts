import type { BackendName, CacheMode, Dtype, Scope } from '../core/cell.js';
import type { ModelShape } from '../core/model-shape.js';
import type { SamplingOptions } from '../core/plan.js';

/** Largest values that a sweep accepts. */
export interface SweepLimits {
  /** B */
  readonly maxBatchSize: number;
  /** N */
  readonly maxKvLen: number;
  /** Cells of one plan */
  readonly maxCells: number;
}

export const SWEEP_LIMITS: SweepLimits = { maxBatchSize: 4096, maxKvLen: 1_048_576, maxCells: 100_000 };

/** What a sweep measures on a backend when nothing is said. */
export interface BackendDefaults {
  readonly batchSizes: readonly number[];
  readonly kvLens: readonly number[];
  readonly sampling: SamplingOptions;
}

/**
 * Chosen so that a bare `sweep --model llama-3-8b` ends in about a minute on two cores (six cells) and in about three
 * minutes on a data-centre GPU (twelve cells). A CPU shares its memory with everything else that runs, so its samples
 * scatter by a per cent or two where a GPU's scatter by tenths.
 */
export const BACKEND_DEFAULTS: Readonly<Record<BackendName, BackendDefaults>> = {
  cpu: {
    batchSizes: [1, 4, 16],
    kvLens: [2048],
    sampling: { minSamples: 10, maxSamples: 4000, maxNoise: 0.02, maxTimeS: 4, warmup: 1, minSampleUs: 200 },
  },
  cuda: {
    batchSizes: [1, 4, 16, 64],
    kvLens: [2048, 8192],
    sampling: {
      minSamples: 10,
      maxSamples: 4000,
      maxNoise: 0.005,
      maxTimeS: 10,
      warmup: 3,
      minSampleUs: 100,
    },
  },
};

export const DEFAULT_SCOPES: readonly Scope[] = ['attention', 'mlp'];
export const DEFAULT_DTYPE: Dtype = 'bf16';
export const DEFAULT_CACHE_MODE: CacheMode = 'cold';
export const DEFAULT_SEED = 1;

/** Head density of models for which nothing is published: multi-head attention, and grouped KV heads. */
export const DEFAULT_HEAD_DENSITY = { mha: 0.5, gqa: 0.625 } as const;

/** MLP density where neither the model nor a published curve says one. */
export const DEFAULT_MLP_DENSITY = 0.5;

/** A density in (0, 1] and what the column density_source says about it. */
export interface ChosenDensity {
  readonly density: number;
  readonly source: string;
}

/** The density of heads or KV groups when none was asked for. */
export function defaultHeadDensity(model: ModelShape): ChosenDensity {
  if (model.criticalHeadDensity !== null) {
    return {
      density: model.criticalHeadDensity.value,
      source: `critical:${model.criticalHeadDensity.source}`,
    };
  }
  const grouped = model.numQoHeads > model.numKvHeads;
  return { density: grouped ? DEFAULT_HEAD_DENSITY.gqa : DEFAULT_HEAD_DENSITY.mha, source: 'default' };
}

/**
 * The MLP density of a model at a batch size when none was asked for; the signature that a source of published union
 * curves implements as well; the source of a published value begins with `published:`.
 */
export type MlpDensityFor = (model: ModelShape, batchSize: number) => ChosenDensity;

/** Active neurons of a model at a batch size from a top-k table; null where the table has no entry. */
export type MlpNeuronsFor = (
  model: ModelShape,
  batchSize: number,
) => {
  /** Mean over layers, rounded */
  readonly activeNeurons: number;
  /** One entry per layer of the model */
  readonly layerActiveNeurons: readonly number[];
  readonly source: string;
} | null;

/**
 * MLP density of every layer of a model at a batch size, null where nothing is published. `union` is the curve itself,
 * `router` what a router with high recall computes: more than the union.
 */
export type MlpLayerDensitiesFor = (
  model: ModelShape,
  batchSize: number,
  kind: 'union' | 'router',
) => { readonly densities: readonly number[]; readonly source: string } | null;

/** What decides how many heads and neurons a sparse kernel computes. */
export interface DensityRules {
  /** As asked for; null: the model's default. */
  readonly headDensities: readonly number[] | null;
  readonly mlpDensities: readonly number[] | 'union' | null;
  readonly mlpDensityFor: MlpDensityFor;
  readonly mlpLayerDensitiesFor: MlpLayerDensitiesFor;
  readonly mlpNeuronsFor: MlpNeuronsFor | null;
}

/** Without published curves: the model's own density, else DEFAULT_MLP_DENSITY with source `default`. */
export const defaultMlpDensity: MlpDensityFor = (model) =>
  model.defaultMlpDensity === null
    ? { density: DEFAULT_MLP_DENSITY, source: 'default' }
    : { density: model.defaultMlpDensity.value, source: `model:${model.defaultMlpDensity.source}` };

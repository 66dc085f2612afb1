import { CATALOG } from '../core/catalog.js';
import {
  cellKey,
  hasKvCache,
  isLayerScope,
  VARIANTS,
  type BackendName,
  type CacheMode,
  type Cell,
  type Dtype,
  type Scope,
  type Variant,
} from '../core/cell.js';
import { PlanError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import type { Exclusion, SamplingOptions, SweepPlan } from '../core/plan.js';
import { checkCounts, checkDensities } from './axes.js';
import { candidatesFor, type CandidateRules } from './candidates.js';
import {
  BACKEND_DEFAULTS,
  DEFAULT_CACHE_MODE,
  DEFAULT_DTYPE,
  DEFAULT_SCOPES,
  DEFAULT_SEED,
  defaultMlpDensity,
  SWEEP_LIMITS,
  type MlpDensityFor,
  type MlpLayerDensitiesFor,
  type MlpNeuronsFor,
  type SweepLimits,
} from './defaults.js';

/** What somebody asked for, with flags, environment and files merged and models loaded. Absent: not said. */
export interface SweepRequest {
  readonly models: readonly ModelShape[];
  /** Chosen already: `auto` is the command line's business. */
  readonly backend: BackendName;
  readonly device?: number | undefined;
  readonly scopes?: readonly Scope[] | undefined;
  readonly variants?: readonly Variant[] | undefined;
  /** B */
  readonly batchSizes?: readonly number[] | undefined;
  /** N */
  readonly kvLens?: readonly number[] | undefined;
  readonly headDensities?: readonly number[] | undefined;
  readonly mlpDensities?: readonly number[] | 'union' | undefined;
  readonly dtype?: Dtype | undefined;
  readonly cacheMode?: CacheMode | undefined;
  readonly seed?: number | undefined;
  readonly threads?: number | undefined;
  readonly minSamples?: number | undefined;
  /** Per cent, 0.5 = 0.5 % */
  readonly maxNoisePercent?: number | undefined;
  readonly maxTimeS?: number | undefined;
  readonly warmup?: number | undefined;
  /** Report the parts of each step; scope step only. */
  readonly breakdown?: boolean | undefined;
}

/** Where MLP densities come from when no number was given, and how large a sweep may be. */
export interface PlanInputs {
  /** Published union curves; `defaultMlpDensity` where there are none. */
  readonly mlpDensityFor?: MlpDensityFor | undefined;
  /** Published densities of every layer; null for every model where there are none. */
  readonly mlpLayerDensitiesFor?: MlpLayerDensitiesFor | undefined;
  /** A top-k table (`--mlp-topk`); excludes mlpDensities. */
  readonly mlpNeuronsFor?: MlpNeuronsFor | undefined;
  readonly limits?: SweepLimits | undefined;
}

/**
 * Turns a request into the cells to measure.
 * Order: models as given, then scopes as given, then batch sizes and lengths ascending. Attention, layer and step have
 * a cell for each (model, B, N), the MLP scopes and router one for each (model, B) with kvLen null. Cells that would be the same are planned once.
 * A plan may be empty when defaults excluded everything; its exclusions say why.
 * @param request what was asked for
 * @param inputs sources of densities, limits
 * @throws UsageError for counts or densities out of range
 * @throws PlanError for a request without models, a variant that has no kernel in the scopes, a density that cannot be
 *   met, or more cells than the limit
 */
export function expandSweep(request: SweepRequest, inputs: PlanInputs = {}): SweepPlan {
  const limits = inputs.limits ?? SWEEP_LIMITS;
  const defaults = BACKEND_DEFAULTS[request.backend];
  const scopes = unique(request.scopes ?? DEFAULT_SCOPES);
  const batchSizes = checkCounts(
    request.batchSizes ?? defaults.batchSizes,
    { name: '--batch' },
    limits.maxBatchSize,
  );
  const kvLens = checkCounts(request.kvLens ?? defaults.kvLens, { name: '--seq' }, limits.maxKvLen);
  const rules = rulesOf(request, inputs);
  if (request.models.length === 0 || scopes.length === 0) {
    const what = scopes.length === 0 ? 'scope for --scope' : 'model for --model';
    throw new PlanError(`Expected at least one ${what}, got none`, {
      hint: 'Name one, such as llama-3-8b, or attention.',
    });
  }
  const exclusions = new Map<string, Exclusion>();
  const exclude = (e: Exclusion): void => {
    const key = JSON.stringify([e.model, e.scope, e.variant, e.reason]);
    if (!exclusions.has(key)) exclusions.set(key, e);
  };
  refuseVariantsWithoutKernel(request, scopes).forEach(exclude);
  refuseBreakdown(request, scopes);

  const cells = new Map<string, Cell>();
  for (const model of request.models) {
    for (const scope of scopes) {
      refuseUnmodelledBlock(model, scope);
      for (const batchSize of batchSizes) {
        const planned = candidatesFor(model, scope, batchSize, rules);
        planned.exclusions.forEach(exclude);
        if (planned.candidates.length === 0) continue;
        const problem = { ...settingsOf(request), model, scope, batchSize, candidates: planned.candidates };
        for (const kvLen of hasKvCache(scope) ? kvLens : [null]) {
          const cell = withKey({ ...problem, kvLen });
          cells.set(cell.key, cells.get(cell.key) ?? cell);
          if (cells.size > limits.maxCells) throw tooManyCells(limits.maxCells);
        }
      }
    }
  }
  return {
    cells: [...cells.values()],
    exclusions: [...exclusions.values()],
    sampling: samplingOf(request, defaults.sampling),
    threads: request.threads ?? 0,
    breakdown: request.breakdown ?? false,
  };
}

function rulesOf(request: SweepRequest, inputs: PlanInputs): CandidateRules {
  const { headDensities, mlpDensities } = request;
  if (mlpDensities !== undefined && inputs.mlpNeuronsFor !== undefined) {
    throw new PlanError('Expected either --mlp-density or --mlp-topk for the MLP density, got both', {
      hint: 'Leave one of them out.',
    });
  }
  const listed = mlpDensities === undefined || mlpDensities === 'union';
  return {
    backend: request.backend,
    variants: request.variants ?? VARIANTS,
    headDensities:
      headDensities === undefined ? null : checkDensities(headDensities, { name: '--head-density' }),
    mlpDensities: listed ? (mlpDensities ?? null) : checkDensities(mlpDensities, { name: '--mlp-density' }),
    mlpDensityFor: inputs.mlpDensityFor ?? defaultMlpDensity,
    mlpLayerDensitiesFor: inputs.mlpLayerDensitiesFor ?? (() => null),
    mlpNeuronsFor: inputs.mlpNeuronsFor ?? null,
  };
}

/** Parts are those of a step; a sweep that has them for some of its rows only would be misread. */
function refuseBreakdown(request: SweepRequest, scopes: readonly Scope[]): void {
  const others = scopes.filter((scope) => scope !== 'step');
  if (request.breakdown !== true || others.length === 0) return;
  throw new PlanError(`Expected scope step alone with --breakdown, got ${scopes.join(', ')}`, {
    hint: 'Add --scope step.',
  });
}

/** A layer that the kernels would compute as another one is refused, never approximated. */
function refuseUnmodelledBlock(model: ModelShape, scope: Scope): void {
  if (!isLayerScope(scope) || model.unmodelledBlock === null) return;
  throw new PlanError(`Expected a layer that scope ${scope} computes, got ${quoted(model.name)}`, {
    hint: `Its layers are others: ${model.unmodelledBlock}. The scopes attention, mlp and router are measured.`,
  });
}

/** Everything of a cell that is the same throughout a sweep. */
function settingsOf(
  request: SweepRequest,
): Pick<Cell, 'backend' | 'device' | 'dtype' | 'cacheMode' | 'seed'> {
  return {
    backend: request.backend,
    device: request.device ?? 0,
    dtype: request.dtype ?? DEFAULT_DTYPE,
    cacheMode: request.cacheMode ?? DEFAULT_CACHE_MODE,
    seed: request.seed ?? DEFAULT_SEED,
  };
}

function withKey(cell: Omit<Cell, 'key'>): Cell {
  return { key: cellKey(cell), ...cell };
}

function samplingOf(request: SweepRequest, defaults: SamplingOptions): SamplingOptions {
  const minSamples = request.minSamples ?? defaults.minSamples;
  return {
    minSamples,
    maxSamples: Math.max(minSamples, defaults.maxSamples),
    maxNoise: request.maxNoisePercent === undefined ? defaults.maxNoise : request.maxNoisePercent / 100,
    maxTimeS: request.maxTimeS ?? defaults.maxTimeS,
    warmup: request.warmup ?? defaults.warmup,
    minSampleUs: defaults.minSampleUs,
  };
}

/**
 * A variant that was named and has no kernel in any of the scopes: an error where nothing else was named, else an
 * exclusion. Variants that nobody named are left out silently.
 */
function refuseVariantsWithoutKernel(request: SweepRequest, scopes: readonly Scope[]): Exclusion[] {
  const named = unique(request.variants ?? []);
  if (request.variants !== undefined && named.length === 0) {
    throw new PlanError('Expected at least one variant for --variant, got none', {
      hint: `Known: ${VARIANTS.join(', ')}.`,
    });
  }
  const has = (variant: Variant): boolean =>
    CATALOG.some(
      (k) => k.variant === variant && scopes.includes(k.scope) && k.backends.includes(request.backend),
    );
  const without = named.filter((variant) => !has(variant));
  const list = scopes.join(', ');
  if (without.length > 0 && without.length === named.length) {
    const applying = VARIANTS.filter(has).join(', ');
    throw new PlanError(
      `Expected a variant with kernels in scope ${list} for --variant, got ${named.join(',')}`,
      {
        hint: `Variants of these scopes: ${applying}.${without.includes('polar') ? POLAR_HINT : ''}`,
      },
    );
  }
  const reason = `no kernel of this variant in scope ${list}`;
  return without.flatMap((variant) =>
    request.models.flatMap((model) => scopes.map((scope) => ({ model: model.name, scope, variant, reason }))),
  );
}

const POLAR_HINT =
  ' polar combines mlp-sparse and head-sparse over a whole layer: use --scope layer or step.';

function tooManyCells(maxCells: number): PlanError {
  return new PlanError(`Expected at most ${maxCells} cells for the sweep, got more`, {
    hint: 'Narrow --batch or --seq, or split the sweep.',
  });
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

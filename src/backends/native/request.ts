import {
  activeGroups,
  INDEX_PATTERNS,
  type IndexPattern,
  type Cell,
  type Dtype,
  DTYPES,
  hasKvCache,
  isLayerScope,
  SCOPES,
} from '../../core/cell.js';
import { type Activation, ACTIVATIONS, mlpRouterRank, type ModelShape } from '../../core/model-shape.js';
import type { MeasureRequest, VerifyRequest } from '../backend.js';
import type { NativeCandidate, NativeCellRequest, NativeOptions, NativeProblem } from './addon.js';

/** Rows of the output that are compared before timing; the whole output where there are fewer. */
const VERIFY_ROWS_BEFORE_TIMING = 16;
/** Runs compared bit by bit before timing; the verify command repeats more. */
const REPEATS_BEFORE_TIMING = 2;
/** KV positions are allocated in tiles of this many, so a length that is no multiple has a tail. */
const KV_TILE = 64;

const roundUp = (value: number, step: number): number => Math.ceil(value / step) * step;

const dtypeNumber = (dtype: Dtype): number => DTYPES.indexOf(dtype);
/** PolarNorm of src/native/abi.h. */
const NATIVE_NORM = { opt: 1, llama: 2 } as const;
const activationNumber = (activation: Activation): number => ACTIVATIONS.indexOf(activation);

function toProblem(cell: Cell, kvCapacity: number): NativeProblem {
  const m = cell.model;
  const routed = cell.scope === 'router' || isLayerScope(cell.scope);
  const attention = cell.scope === 'attention' || routed;
  const mlp = cell.scope !== 'attention';
  return {
    scope: SCOPES.indexOf(cell.scope),
    dtype: dtypeNumber(cell.dtype),
    batchSize: cell.batchSize,
    kvLen: cell.kvLen ?? 0,
    kvCapacity: hasKvCache(cell.scope) ? kvCapacity : 0,
    numQoHeads: attention ? m.numQoHeads : 0,
    numKvHeads: attention ? m.numKvHeads : 0,
    headDim: attention ? m.headDim : 0,
    hiddenSize: mlp ? m.hiddenSize : 0,
    intermediateSize: mlp ? m.intermediateSize : 0,
    activation: mlp ? activationNumber(m.activation) : 0,
    gated: mlp && m.gated ? 1 : 0,
    mlpBias: mlp && m.mlpBias ? 1 : 0,
    ...(isLayerScope(cell.scope) ? blockProblem(m, cell.scope) : NO_BLOCK),
    mlpRouterRank: routed ? mlpRouterRank(m) : 0,
    seed: cell.seed,
  };
}

type BlockProblem = Pick<
  NativeProblem,
  'norm' | 'qkvBias' | 'outBias' | 'rope' | 'ropeTheta' | 'normEpsilon' | 'numLayers' | 'vocabSize'
>;

const NO_BLOCK: BlockProblem = {
  norm: 0,
  qkvBias: 0,
  outBias: 0,
  rope: 0,
  ropeTheta: 0,
  normEpsilon: 0,
  numLayers: 0,
  vocabSize: 0,
};

function blockProblem(m: ModelShape, scope: 'layer' | 'step'): BlockProblem {
  return {
    norm: NATIVE_NORM[m.family],
    qkvBias: m.qkvBias ? 1 : 0,
    outBias: m.outBias ? 1 : 0,
    rope: m.ropeTheta === null ? 0 : 1,
    ropeTheta: m.ropeTheta ?? 0,
    normEpsilon: m.normEpsilon,
    numLayers: scope === 'step' ? m.numLayers : 1,
    vocabSize: scope === 'step' ? m.vocabSize : 0,
  };
}

function toCandidates(
  cell: Cell,
  pattern: IndexPattern,
  indices: readonly number[] | null,
): NativeCandidate[] {
  return cell.candidates.map((c) => ({
    kernel: c.kernel,
    activeGroups: activeGroups(cell.model, c) ?? 0,
    activeNeurons: c.activeNeurons ?? 0,
    indexPattern: c.variant === 'dense' ? 0 : INDEX_PATTERNS.indexOf(pattern),
    dense: c.variant === 'dense' ? 1 : 0,
    indices: c.variant === 'dense' || indices === null ? null : Int32Array.from(indices),
    layerActiveNeurons: c.layerActiveNeurons === null ? null : Int32Array.from(c.layerActiveNeurons),
  }));
}

/** Options of calls that do not sample. */
export function idleOptions(device: number, threads: number): NativeOptions {
  return {
    mode: 1,
    device,
    threads,
    coldCache: 0,
    minSamples: 3,
    maxSamples: 3,
    warmup: 1,
    repeats: 1,
    maxNoise: 1,
    maxTimeS: 1,
    minSampleUs: 0,
    verifyRows: 0,
    breakdown: 0,
  };
}

/** The C request of a timed cell; throws nothing, native code checks every number again. */
export function measureRequest(request: MeasureRequest): NativeCellRequest {
  const { cell, sampling } = request;
  return {
    backend: cell.backend,
    problem: toProblem(cell, roundUp(cell.kvLen ?? 0, KV_TILE)),
    candidates: toCandidates(cell, 'random', null),
    options: {
      mode: 0,
      device: cell.device,
      threads: request.threads,
      coldCache: cell.cacheMode === 'cold' ? 1 : 0,
      minSamples: sampling.minSamples,
      maxSamples: sampling.maxSamples,
      warmup: sampling.warmup,
      repeats: REPEATS_BEFORE_TIMING,
      maxNoise: sampling.maxNoise,
      maxTimeS: sampling.maxTimeS,
      minSampleUs: sampling.minSampleUs,
      verifyRows: VERIFY_ROWS_BEFORE_TIMING,
      breakdown: request.breakdown && cell.scope === 'step' ? 1 : 0,
    },
  };
}

/** The C request of a verification. The KV cache always has a tail past kvLen, filled with NaN. */
export function verifyRequest(request: VerifyRequest): NativeCellRequest {
  const { cell } = request;
  return {
    backend: cell.backend,
    problem: toProblem(cell, roundUp((cell.kvLen ?? 0) + 1, KV_TILE)),
    candidates: toCandidates(cell, request.indexPattern, request.indices),
    options: { ...idleOptions(cell.device, request.threads), repeats: request.repeats },
  };
}

export function dtypeToNative(dtype: Dtype): number {
  return dtypeNumber(dtype);
}

import { activeGroups, DTYPE_BYTES, type Candidate, type Cell } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import type { ModelShape } from '../core/model-shape.js';

/** Index sets are int32 on both backends. */
export const INDEX_BYTES = 4;

/** The part of a cell that decides its traffic. */
export type TrafficProblem = Pick<Cell, 'model' | 'scope' | 'batchSize' | 'kvLen'>;

/** What one run of a candidate must read, by kind, write and compute. The memory estimate needs the kinds apart. */
export interface Work {
  /** Inputs that belong to the step: q, x, hidden activations; bytes */
  readonly activations: number;
  /** KV of the active groups, bytes */
  readonly kvCache: number;
  /** Rows of the active neurons, projections, norms, routers, biases; bytes */
  readonly weights: number;
  /** The candidate's index set where it comes from outside, bytes; 0 for kernels that select nothing or by themselves */
  readonly indices: number;
  /** Outputs, bytes */
  readonly written: number;
  /** Multiply and add of the matrix products, 2 per pair */
  readonly flops: number;
}

/** Decode attention: selective reads q of the active heads only and writes the whole output, zeros included. */
export function attentionWork(problem: TrafficProblem, candidate: Candidate, selects: boolean): Work {
  const { model, batchSize: b } = problem;
  const { heads, groups, kvLen } = attentionCounts(problem, candidate);
  return {
    activations: b * heads * model.headDim * DTYPE_BYTES,
    kvCache: 2 * b * groups * kvLen * model.headDim * DTYPE_BYTES,
    weights: 0,
    indices: selects ? b * groups * INDEX_BYTES : 0,
    written: b * model.numQoHeads * model.headDim * DTYPE_BYTES,
    flops: attentionFlops(model, b, heads, kvLen),
  };
}

/** q K^T and the product with V, 2 FLOPs for each element of K and of V. */
export function attentionFlops(model: ModelShape, batchSize: number, heads: number, kvLen: number): number {
  return 4 * batchSize * heads * kvLen * model.headDim;
}

/** The MLP or one half of it. In scope mlp the hidden activations never have to leave the chip and are not counted. */
export function mlpWork(
  { model, batchSize: b }: TrafficProblem,
  half: 'mlp' | 'mlp-up' | 'mlp-down',
  candidate: Candidate,
  selects: boolean,
): Work {
  const neurons = neuronCount(candidate);
  const up = half === 'mlp-down' ? 0 : upWeights(model, neurons);
  const down = half === 'mlp-up' ? 0 : downWeights(model, neurons);
  const inputWidth = half === 'mlp-down' ? neurons : model.hiddenSize;
  const outputWidth = half === 'mlp-up' ? neurons : model.hiddenSize;
  const inputProjections = model.gated ? 2 : 1;
  const products = { mlp: inputProjections + 1, 'mlp-up': inputProjections, 'mlp-down': 1 }[half];
  return {
    activations: b * inputWidth * DTYPE_BYTES,
    kvCache: 0,
    weights: (up + down) * DTYPE_BYTES,
    indices: selects ? neurons * INDEX_BYTES : 0,
    written: b * outputWidth * DTYPE_BYTES,
    flops: 2 * b * neurons * model.hiddenSize * products,
  };
}

/** Elements of W1 (gated: gate and up) and b1 of the active neurons. */
export function upWeights(model: ModelShape, neurons: number): number {
  return neurons * model.hiddenSize * (model.gated ? 2 : 1) + (model.mlpBias ? neurons : 0);
}

/** Elements of W2 of the active neurons, and of b2, which is added whatever is active. */
export function downWeights(model: ModelShape, neurons: number): number {
  return neurons * model.hiddenSize + (model.mlpBias ? model.hiddenSize : 0);
}

/**
 * Active heads and groups, and N.
 * @throws InternalError where one of them is null
 */
export function attentionCounts(
  { model, scope, kvLen }: TrafficProblem,
  candidate: Candidate,
): { heads: number; groups: number; kvLen: number } {
  const groups = activeGroups(model, candidate);
  if (kvLen === null || groups === null || candidate.activeHeads === null) {
    throw new InternalError(
      `Expected kvLen and activeHeads for a cell of scope ${scope}, got null (${candidate.kernel})`,
    );
  }
  return { heads: candidate.activeHeads, groups, kvLen };
}

/** @throws InternalError where the candidate has none */
export function neuronCount(candidate: Candidate): number {
  if (candidate.activeNeurons === null) {
    throw new InternalError(`Expected activeNeurons for an MLP, got null (${candidate.kernel})`);
  }
  return candidate.activeNeurons;
}

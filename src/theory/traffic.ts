import { CATALOG } from '../core/catalog.js';
import { activeGroups, DTYPE_BYTES, type Candidate, type Cell } from '../core/cell.js';
import { InternalError } from '../core/errors.js';

/** Index sets are int32 on both backends. */
export const INDEX_BYTES = 4;

/**
 * What an operation must at least read, write and compute: each input once, each output once.
 * A property of the mathematics, not of a kernel: one that reads its input twice moves more than this, and its share of
 * the bound says so.
 */
export interface Traffic {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** bytesRead + bytesWritten, the column bytes_moved */
  readonly bytesMoved: number;
  /** Multiply and add of the matrix products, 2 per pair; softmax, activation and bias are not counted. */
  readonly flops: number;
}

/** The part of a cell that decides its traffic. */
export type TrafficProblem = Pick<Cell, 'model' | 'scope' | 'batchSize' | 'kvLen'>;

/** Reads of one candidate by kind, in bytes; the memory estimate needs them apart. */
export interface Reads {
  /** Inputs that belong to the step: q, x, hidden activations */
  readonly activations: number;
  /** KV of the active groups */
  readonly kvCache: number;
  /** Rows of the active neurons and the biases */
  readonly weights: number;
  /** The candidate's index set; 0 for kernels that select nothing */
  readonly indices: number;
}

/**
 * Bytes and FLOPs of one candidate (docs/methodology.md, "Bounds").
 * Candidates of one density move the same bytes whatever their kernel: dense-per-query-head as dense, gather-dense as
 * selective. Selective attention reads q of the active heads only and writes the whole output, zeros included. In scope
 * mlp the hidden activations never have to leave the chip and are not counted.
 * @param problem model, scope, B and N
 * @param candidate kernel with active heads or neurons
 * @throws InternalError when the candidate is none of the scope, or lacks what the scope needs
 */
export function trafficOf(problem: TrafficProblem, candidate: Candidate): Traffic {
  const reads = readsOf(problem, candidate);
  const bytesRead = reads.activations + reads.kvCache + reads.weights + reads.indices;
  const bytesWritten = outputBytes(problem, candidate);
  return {
    bytesRead,
    bytesWritten,
    bytesMoved: bytesRead + bytesWritten,
    flops: flopsOf(problem, candidate),
  };
}

/**
 * Bytes that one run of a candidate reads, by kind.
 * @throws InternalError as `trafficOf`
 */
export function readsOf(problem: TrafficProblem, candidate: Candidate): Reads {
  const { model, scope, batchSize: b } = problem;
  const selects = selectionOf(problem, candidate);
  if (scope === 'attention') {
    const { heads, groups, kvLen } = attentionCounts(problem, candidate);
    return {
      activations: b * heads * model.headDim * DTYPE_BYTES,
      kvCache: 2 * b * groups * kvLen * model.headDim * DTYPE_BYTES,
      weights: 0,
      indices: selects ? b * groups * INDEX_BYTES : 0,
    };
  }
  const neurons = neuronCount(candidate);
  const up = scope === 'mlp-down' ? 0 : upWeights(problem, neurons);
  const down = scope === 'mlp-up' ? 0 : downWeights(problem, neurons);
  const inputWidth = scope === 'mlp-down' ? neurons : model.hiddenSize;
  return {
    activations: b * inputWidth * DTYPE_BYTES,
    kvCache: 0,
    weights: (up + down) * DTYPE_BYTES,
    indices: selects ? neurons * INDEX_BYTES : 0,
  };
}

/** Bytes of the output: `[B, H, d_h]`, `[B, active]` for mlp-up, `[B, d]` for mlp and mlp-down. */
export function outputBytes(problem: TrafficProblem, candidate: Candidate): number {
  const { model, scope, batchSize: b } = problem;
  if (scope === 'attention') return b * model.numQoHeads * model.headDim * DTYPE_BYTES;
  const width = scope === 'mlp-up' ? neuronCount(candidate) : model.hiddenSize;
  return b * width * DTYPE_BYTES;
}

function flopsOf(problem: TrafficProblem, candidate: Candidate): number {
  const { model, scope, batchSize: b } = problem;
  if (scope === 'attention') {
    const { heads, kvLen } = attentionCounts(problem, candidate);
    // q K^T and the product with V, 2 FLOPs for each element of K and of V.
    return 4 * b * heads * kvLen * model.headDim;
  }
  const inputProjections = model.gated ? 2 : 1;
  const products = { mlp: inputProjections + 1, 'mlp-up': inputProjections, 'mlp-down': 1 }[scope];
  return 2 * b * neuronCount(candidate) * model.hiddenSize * products;
}

/** Elements of W1 (gated: gate and up) and b1 of the active neurons. */
function upWeights({ model }: TrafficProblem, neurons: number): number {
  return neurons * model.hiddenSize * (model.gated ? 2 : 1) + (model.mlpBias ? neurons : 0);
}

/** Elements of W2 of the active neurons, and of b2, which is added whatever is active. */
function downWeights({ model }: TrafficProblem, neurons: number): number {
  return neurons * model.hiddenSize + (model.mlpBias ? model.hiddenSize : 0);
}

/** Whether the candidate's kernel reads an index set. */
function selectionOf(problem: TrafficProblem, candidate: Candidate): boolean {
  const kernel = CATALOG.find((k) => k.id === candidate.kernel);
  if (kernel === undefined || kernel.scope !== problem.scope) {
    throw new InternalError(
      `Expected a kernel of scope ${problem.scope} for the candidate, got ${candidate.kernel}`,
    );
  }
  return kernel.selects !== null;
}

function attentionCounts(
  { model, kvLen }: TrafficProblem,
  candidate: Candidate,
): { heads: number; groups: number; kvLen: number } {
  const groups = activeGroups(model, candidate);
  if (kvLen === null || groups === null || candidate.activeHeads === null) {
    throw new InternalError(
      `Expected kvLen and activeHeads for an attention cell, got null (${candidate.kernel})`,
    );
  }
  return { heads: candidate.activeHeads, groups, kvLen };
}

function neuronCount(candidate: Candidate): number {
  if (candidate.activeNeurons === null) {
    throw new InternalError(`Expected activeNeurons for an MLP cell, got null (${candidate.kernel})`);
  }
  return candidate.activeNeurons;
}

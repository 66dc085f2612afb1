import { CATALOG, type Kernel } from '../core/catalog.js';
import type { Candidate } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import { layerWork, routerWork, stepWork } from './layer-work.js';
import { attentionWork, mlpWork, type TrafficProblem, type Work } from './work.js';

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
  /** Multiply and add of the matrix products, 2 per pair; softmax, activation, norms and bias are not counted. */
  readonly flops: number;
}

/**
 * Bytes and FLOPs of one candidate (docs/methodology.md, "Bounds").
 * Candidates of one density move the same bytes whatever their kernel: dense-per-query-head as dense, gather-dense as
 * selective.
 * @param problem model, scope, B and N
 * @param candidate kernel with active heads or neurons
 * @throws InternalError when the candidate is none of the scope, or lacks what the scope needs
 */
export function trafficOf(problem: TrafficProblem, candidate: Candidate): Traffic {
  const work = workOf(problem, candidate);
  const bytesRead = work.activations + work.kvCache + work.weights + work.indices;
  return {
    bytesRead,
    bytesWritten: work.written,
    bytesMoved: bytesRead + work.written,
    flops: work.flops,
  };
}

/**
 * The same by kind, in bytes.
 * @throws InternalError as `trafficOf`
 */
export function workOf(problem: TrafficProblem, candidate: Candidate): Work {
  const kernel = kernelOf(problem, candidate);
  const selects = kernel.selects !== null;
  switch (problem.scope) {
    case 'attention':
      return attentionWork(problem, candidate, selects);
    case 'router':
      return routerWork(problem, candidate, kernel);
    case 'layer':
      return layerWork(problem, candidate, kernel);
    case 'step':
      return stepWork(problem, candidate, kernel);
    default:
      return mlpWork(problem, problem.scope, candidate, selects);
  }
}

function kernelOf(problem: TrafficProblem, candidate: Candidate): Kernel {
  const kernel = CATALOG.find((k) => k.id === candidate.kernel);
  if (kernel === undefined || kernel.scope !== problem.scope) {
    throw new InternalError(
      `Expected a kernel of scope ${problem.scope} for the candidate, got ${candidate.kernel}`,
    );
  }
  return kernel;
}

import type { CacheMode, Cell } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import { outputBytes, readsOf, type TrafficProblem } from './traffic.js';

/** A cold run must have pushed out everything it read before: distinct bytes over last-level cache. */
export const ROTATION_CACHE_MULTIPLE = 5;

/** Device memory that a cell needs. */
export interface CellMemory {
  /** Inputs of all candidates (full KV or weights, activations, an index set each): one copy of the cell. */
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** The copies that gather-dense candidates make, and hidden activations of the mlp scope. */
  readonly workspaceBytes: number;
  /** input + output + workspace: without this the cell is skipped. */
  readonly requiredBytes: number;
  /** Copies of weights, KV and indices that a cold-cache sample rotates over; 1 with a hot cache. */
  readonly rotationCopies: number;
  /** requiredBytes with that many copies; where it does not fit, the sample rotates over fewer and warns. */
  readonly rotationBytes: number;
}

/**
 * Estimates the device memory of a cell, for `--dry-run` and for the decision to skip it.
 * @param cell problem with at least one candidate
 * @param cache mode, and size of the last-level cache in bytes (L2 of a GPU, L3 of a CPU)
 * @returns bytes; KV counted at its length, without padding of the allocation
 * @throws InternalError when the cell has no candidate
 */
export function memoryOf(
  cell: TrafficProblem & Pick<Cell, 'candidates'>,
  cache: { readonly mode: CacheMode; readonly lastLevelCacheBytes: number },
): CellMemory {
  const first = cell.candidates[0];
  if (first === undefined) throw new InternalError('Expected at least one candidate for the cell, got none');
  const full = { ...first, activeHeads: cell.model.numQoHeads, activeNeurons: cell.model.intermediateSize };
  const inputs = readsOf(cell, full);
  const perCandidate = cell.candidates.map((candidate) => readsOf(cell, candidate));
  const indices = sum(perCandidate.map((r) => r.indices));
  const rotated = inputs.kvCache + inputs.weights + indices;
  const outputs = sum(cell.candidates.map((candidate) => outputBytes(cell, candidate)));
  const workspace = workspaceBytes(cell);
  const required = inputs.activations + rotated + outputs + workspace;
  // The candidate that touches least decides: it must not find its own data of the previous copy in the cache.
  const touched = Math.min(...perCandidate.map((r) => r.kvCache + r.weights + r.indices));
  const copies = cache.mode === 'hot' ? 1 : rotationCopies(touched, cache.lastLevelCacheBytes);
  return {
    inputBytes: inputs.activations + rotated,
    outputBytes: outputs,
    workspaceBytes: workspace,
    requiredBytes: required,
    rotationCopies: copies,
    rotationBytes: required + (copies - 1) * rotated,
  };
}

/**
 * Copies after which the distinct bytes exceed the last-level cache ROTATION_CACHE_MULTIPLE times.
 * @param touchedBytes read by one run, > 0
 * @param lastLevelCacheBytes 0 where the device has none
 * @returns an integer >= 1
 */
export function rotationCopies(touchedBytes: number, lastLevelCacheBytes: number): number {
  return Math.floor((ROTATION_CACHE_MULTIPLE * lastLevelCacheBytes) / touchedBytes) + 1;
}

function workspaceBytes(cell: TrafficProblem & Pick<Cell, 'candidates'>): number {
  const gathers = cell.candidates.filter((c) => c.kernel.endsWith('/gather-dense'));
  const gathered = gathers.map((c) => {
    const reads = readsOf(cell, c);
    return reads.kvCache + reads.weights;
  });
  if (cell.scope !== 'mlp') return sum(gathered);
  // What mlp-up writes is what lies between the two products of mlp; every candidate keeps its own.
  const hidden = cell.candidates.map((c) => outputBytes({ ...cell, scope: 'mlp-up' }, c));
  return sum(gathered) + sum(hidden);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

import { DTYPE_BYTES, type CacheMode, type Candidate, type Cell } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import { mlpRouterRank } from '../core/model-shape.js';
import { workOf } from './traffic.js';
import { mlpWork, type TrafficProblem, type Work } from './work.js';

/** A cold run must have pushed out everything it read before: distinct bytes over last-level cache. */
export const ROTATION_CACHE_MULTIPLE = 5;

/** Device memory that a cell needs. */
export interface CellMemory {
  /** Inputs of all candidates (full KV or weights, activations, an index set each): one copy of the cell. */
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** The copies that gather-dense candidates make, and what passes between the kernels of an MLP, layer or step. */
  readonly workspaceBytes: number;
  /** Without this the cell is skipped: input + output + workspace; in a step with the fewest layers that may cycle. */
  readonly requiredBytes: number;
  /** Copies of weights, KV and indices that a cold-cache sample rotates over; 1 with a hot cache. */
  readonly rotationCopies: number;
  /** requiredBytes with that many copies; where it does not fit, the sample rotates over fewer and warns. */
  readonly rotationBytes: number;
  /** Step: distinct layers that fit and are cycled; null in other scopes. */
  readonly residentLayers: number | null;
}

/** What decides copies and resident layers. */
export interface MemoryConditions {
  readonly mode: CacheMode;
  /** L2 of a GPU, L3 of a CPU; bytes, 0 where there is none */
  readonly lastLevelCacheBytes: number;
  /** Bytes; only a step, whose layers may cycle, asks for it */
  readonly freeMemoryBytes: number;
}

type MemoryProblem = TrafficProblem & Pick<Cell, 'candidates'>;

/**
 * Estimates the device memory of a cell, for `--dry-run` and for the decision to skip it.
 * @param cell problem with at least one candidate
 * @param conditions cache and free memory
 * @returns bytes; KV counted at its length, without padding of the allocation
 * @throws InternalError when the cell has no candidate
 */
export function memoryOf(cell: MemoryProblem, conditions: MemoryConditions): CellMemory {
  if (cell.candidates.length === 0) {
    throw new InternalError('Expected at least one candidate for the cell, got none');
  }
  const inputs = fullInputs(cell);
  const perCandidate = cell.candidates.map((candidate) => workOf(cell, candidate));
  const indices = sum(perCandidate.map((w) => w.indices));
  const rotated = inputs.kvCache + inputs.weights + indices;
  const outputs = sum(perCandidate.map((w) => w.written));
  const workspace = workspaceBytes(cell);
  const once = inputs.activations + outputs + workspace;
  // The candidate that touches least decides: it must not find its own data of the previous copy in the cache.
  const touched = Math.min(...perCandidate.map((w) => w.kvCache + w.weights + w.indices));
  const { mode, lastLevelCacheBytes } = conditions;
  const copies = mode === 'hot' ? 1 : rotationCopies(touched, lastLevelCacheBytes);
  const base = {
    inputBytes: inputs.activations + rotated,
    outputBytes: outputs,
    workspaceBytes: workspace,
  };
  if (cell.scope === 'step')
    return { ...base, ...cycled(cell, { once, rotated, touched, copies }, conditions) };
  return {
    ...base,
    requiredBytes: once + rotated,
    rotationCopies: copies,
    rotationBytes: once + copies * rotated,
    residentLayers: null,
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

/**
 * A step larger than the device cycles through as many distinct layers as fit, never so few that a layer finds itself in
 * the cache. Layers are taken as equal shares of the step; the language-model head stays where it is.
 */
function cycled(
  { model }: MemoryProblem,
  bytes: { once: number; rotated: number; touched: number; copies: number },
  { mode, lastLevelCacheBytes, freeMemoryBytes }: MemoryConditions,
): Pick<CellMemory, 'requiredBytes' | 'rotationCopies' | 'rotationBytes' | 'residentLayers'> {
  const layers = model.numLayers;
  const head = model.vocabSize * model.hiddenSize * DTYPE_BYTES;
  const perLayer = (bytes.rotated - head) / layers;
  const touchedPerLayer = (bytes.touched - head) / layers;
  const wanted = layers * bytes.copies;
  const least = mode === 'hot' ? 1 : Math.min(wanted, rotationCopies(touchedPerLayer, lastLevelCacheBytes));
  const fitting = Math.floor((freeMemoryBytes - bytes.once - head) / perLayer);
  const resident = Math.max(least, Math.min(wanted, fitting));
  return {
    requiredBytes: bytes.once + head + least * perLayer,
    rotationCopies: bytes.copies,
    rotationBytes: bytes.once + head + resident * perLayer,
    residentLayers: resident,
  };
}

/** Inputs at full density: all KV, all weights. Sparse layers have routers that dense ones lack; routers share only x. */
function fullInputs(cell: MemoryProblem): Work {
  const { model } = cell;
  const all = cell.candidates.map((candidate) =>
    workOf(cell, {
      ...candidate,
      activeHeads: candidate.activeHeads === null ? null : model.numQoHeads,
      activeNeurons: candidate.activeNeurons === null ? null : model.intermediateSize,
      layerActiveNeurons: null,
    }),
  );
  const largest = all.reduce((a, b) => (b.weights > a.weights ? b : a));
  if (cell.scope !== 'router') return largest;
  const kernels = new Map(cell.candidates.map((candidate, i) => [candidate.kernel, all[i]?.weights ?? 0]));
  return { ...largest, weights: sum([...kernels.values()]) };
}

function workspaceBytes(cell: MemoryProblem): number {
  const gathers = cell.candidates.filter((c) => c.kernel.endsWith('/gather-dense'));
  const gathered = gathers.map((c) => {
    const work = workOf(cell, c);
    return work.kvCache + work.weights;
  });
  // Every candidate keeps its own values between its kernels.
  return sum(gathered) + sum(cell.candidates.map((c) => betweenKernels(cell, c)));
}

function betweenKernels(cell: TrafficProblem, candidate: Candidate): number {
  const { model, batchSize: b, scope } = cell;
  // What mlp-up writes is what lies between the two products of mlp.
  const hidden = (): number => mlpWork(cell, 'mlp-up', candidate, false).written;
  if (scope === 'mlp') return hidden();
  if (scope !== 'layer' && scope !== 'step') return 0;
  const attention = (2 * model.numQoHeads + 2 * model.numKvHeads) * model.headDim;
  const normed = 3 * model.hiddenSize;
  return b * (attention + normed + mlpRouterRank(model)) * DTYPE_BYTES + hidden();
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

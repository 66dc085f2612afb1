import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { topHeads } from '../theory/routing.js';
import { randomBatches } from './batches.js';
import { RowReader } from './rows.js';
import type { Trace, TraceTensor } from './trace.js';

export interface HeadOptions {
  /** Heads per token that count as active, 1..H */
  readonly topK: number;
  readonly batchSizes: readonly number[];
  /** Most random batches per batch size */
  readonly trials: number;
  readonly seed: number;
}

/** Which heads one layer's tokens select. */
export interface LayerHeads {
  readonly layer: number;
  readonly tokens: number;
  /** [H] tokens that have the head in their top k (Polar Sparsity Fig. 9) */
  readonly counts: readonly number[];
  /** Mean share of its heads that a token has in common with a random other token, 0..1; k / H would be chance */
  readonly overlap: number | null;
  readonly batches: readonly HeadBatch[];
}

export interface HeadBatch {
  readonly batchSize: number;
  /** Share of the KV cache that is read, k / H: every sequence has a cache of its own, so the batch does not matter */
  readonly kvShare: number;
  /** Share of heads that at least one sequence of the batch selects: what a selection shared by the batch would read */
  readonly unionShare: number;
}

function selections(tensor: TraceTensor, topK: number): Uint8Array {
  const heads = tensor.columns;
  const all = new Uint8Array(tensor.tokens * heads);
  const norms = new Float32Array(heads);
  const reader = new RowReader(tensor);
  try {
    for (let t = 0; t < tensor.tokens; t++) {
      reader.floats(t, norms);
      if (norms.some((n) => Number.isNaN(n))) {
        throw new TraceError(`Expected numbers for token ${t} of ${tensor.name}, got NaN`);
      }
      all.set(topHeads(norms, topK), t * heads);
    }
  } finally {
    reader.close();
  }
  return all;
}

function meanUnion(selected: Uint8Array, heads: number, batches: readonly Uint32Array[]): number {
  let sum = 0;
  for (const batch of batches) {
    const union = new Uint8Array(heads);
    for (const token of batch) {
      for (let h = 0; h < heads; h++) union[h] = (union[h] ?? 0) | (selected[token * heads + h] ?? 0);
    }
    sum += union.reduce((a, b) => a + b, 0);
  }
  return sum / batches.length / heads;
}

function layerHeads(layer: number, tensor: TraceTensor, options: HeadOptions): LayerHeads {
  const heads = tensor.columns;
  const { topK } = options;
  if (topK < 1 || topK > heads) {
    throw new TraceError(`Expected 1 to ${heads} heads (${tensor.name}) for the top k, got ${topK}`);
  }
  const largest = Math.max(...options.batchSizes);
  if (largest > tensor.tokens) {
    throw new TraceError(
      `Expected at most ${tensor.tokens} (tokens of ${tensor.name}) for --batch, got ${largest}`,
    );
  }
  const selected = selections(tensor, topK);
  const counts = Array.from({ length: heads }, () => 0);
  for (const [i, value] of selected.entries()) counts[i % heads] = (counts[i % heads] ?? 0) + value;
  const batchesOf = (batchSize: number): Uint32Array[] =>
    randomBatches(tensor.tokens, batchSize, options.trials, options.seed);
  return {
    layer,
    tokens: tensor.tokens,
    counts,
    // |A and B| = 2k - |A or B| for two sets of k heads.
    overlap: tensor.tokens < 2 ? null : 2 - (meanUnion(selected, heads, batchesOf(2)) * heads) / topK,
    batches: options.batchSizes.map((batchSize) => ({
      batchSize,
      kvShare: topK / heads,
      unionShare: meanUnion(selected, heads, batchesOf(batchSize)),
    })),
  };
}

/**
 * Statistics of the heads that matter, per layer: top k by output norm, as the attention router is trained to find them.
 *
 * @throws TraceError when the trace has no head norms, or k or a batch size does not fit it
 */
export function headStatistics(trace: Trace, options: HeadOptions): LayerHeads[] {
  const layers = trace.layers.flatMap(({ layer, headNorms }) =>
    headNorms === null ? [] : [layerHeads(layer, headNorms, options)],
  );
  if (layers.length === 0) {
    throw new TraceError(
      `Expected layers.<i>.attention.head_norms for --trace, got none in ${quoted(trace.paths, 200)}`,
    );
  }
  return layers;
}

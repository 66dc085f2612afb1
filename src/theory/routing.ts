import { InternalError } from '../core/errors.js';

/** Up to this many neurons an index fits beside a 32-bit score in the 53 bits of a double. */
const MAX_NEURONS = 2 ** 18;

/** One missed neuron of 2^18 in one batch of 2,000 changes the mean recall by more than this; rounding by less. */
const RECALL_TOLERANCE = 1e-9;

const scratch = new DataView(new ArrayBuffer(4));

/** Unsigned 32-bit key that ascends as the score descends; -0 equals 0, NaN comes last. */
function descendingKey(score: number): number {
  if (Number.isNaN(score)) return 0xffffffff;
  scratch.setFloat32(0, score + 0);
  const bits = scratch.getUint32(0);
  const ascending = bits >= 0x80000000 ? 0xffffffff - bits : bits + 0x80000000;
  return 0xffffffff - ascending;
}

/**
 * Neurons or heads from the highest score to the lowest; ties go to the lower index, NaN comes last.
 * @param scores [n], n <= 2^18, compared in single precision
 * @returns [n] indices
 */
export function rankDescending(scores: ArrayLike<number>): Uint32Array {
  const n = scores.length;
  if (n > MAX_NEURONS) throw new InternalError(`Expected at most ${MAX_NEURONS} scores, got ${n}`);
  // One sort of plain numbers is several times faster than a sort of indices by a comparison function.
  const keys = new Float64Array(n);
  for (let i = 0; i < n; i++) keys[i] = descendingKey(scores[i] ?? NaN) * MAX_NEURONS + i;
  keys.sort();
  return Uint32Array.from(keys, (key) => key % MAX_NEURONS);
}

/**
 * Mean recall of a router's top-k against the neurons that a batch really activates, for every k at once.
 *
 * Recall of one batch = active neurons among its k best-scored ones / active neurons; batches count alike, and a batch
 * that activates nothing has recall 1 at every k.
 */
export class RecallCurve {
  private readonly gained: Float64Array;
  private empty = 0;
  private total = 0;

  /** @param neurons D */
  constructor(readonly neurons: number) {
    this.gained = new Float64Array(neurons);
  }

  /**
   * @param scores [D] the router's score of each neuron for the whole batch
   * @param active [D] nonzero where at least one token of the batch activates the neuron
   */
  addBatch(scores: ArrayLike<number>, active: ArrayLike<number>): void {
    let count = 0;
    for (let j = 0; j < this.neurons; j++) if (active[j] !== 0) count++;
    this.total++;
    if (count === 0) {
      this.empty++;
      return;
    }
    const order = rankDescending(scores);
    for (const [rank, j] of order.entries()) {
      if (active[j] !== 0) this.gained[rank] = (this.gained[rank] ?? 0) + 1 / count;
    }
  }

  get batches(): number {
    return this.total;
  }

  /** Mean recall of the k best-scored neurons, 0..1; k in 0..D. */
  recall(k: number): number {
    let sum = this.empty;
    for (let r = 0; r < k; r++) sum += this.gained[r] ?? 0;
    return sum / this.total;
  }

  /**
   * Smallest k in 1..D whose mean recall is at least `target`: what sorting gives, without a search.
   * @param target recall in (0, 1]
   */
  smallestK(target: number): number {
    let sum = this.empty;
    for (let k = 1; k <= this.neurons; k++) {
      sum += this.gained[k - 1] ?? 0;
      if (sum / this.total >= target - RECALL_TOLERANCE) return k;
    }
    return this.neurons;
  }

  /**
   * Greedy search (Polar Sparsity Alg. 2): from `start`, k grows by `step` until the recall is met. Returns the k that met
   * it; the printed loop raises k once more after that. Never above D.
   */
  greedyK(target: number, start: number, step: number): number {
    let k = Math.min(start, this.neurons);
    while (k < this.neurons && this.recall(k) < target - RECALL_TOLERANCE)
      k = Math.min(k + step, this.neurons);
    return k;
  }
}

/**
 * Scores of a batch from its tokens' router logits, as the paper's authors aggregate them: one token's logits as they
 * are; of several tokens the sum of the positive parts, so that one token's dislike does not cancel another's need.
 *
 * @param sum [D], updated
 * @param logits [D] of one token
 * @param batchSize B
 */
export function addLogits(sum: Float64Array, logits: Float32Array, batchSize: number): void {
  if (logits.length !== sum.length) {
    throw new InternalError(`Expected ${sum.length} logits, got ${logits.length}`);
  }
  // The hot loop of topk; the lengths are checked above. `!(value <= 0)` keeps NaN, which then ranks last.
  for (let j = 0; j < sum.length; j++) {
    const value = logits[j]!;
    if (batchSize === 1 || !(value <= 0)) sum[j] = sum[j]! + value;
  }
}

/** Heads (or KV groups) in the top k by output norm. @returns [H] 1 where selected */
export function topHeads(norms: ArrayLike<number>, k: number): Uint8Array {
  const selected = new Uint8Array(norms.length);
  for (const h of rankDescending(norms).subarray(0, k)) selected[h] = 1;
  return selected;
}

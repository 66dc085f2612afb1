import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/**
 * Random batches without replacement: a seeded permutation of the tokens, cut into batches.
 *
 * @param tokens T >= batchSize
 * @param batchSize B >= 1
 * @param trials most batches
 * @returns min(trials, floor(T / B)) batches of B token numbers; no token occurs twice
 */
export function randomBatches(
  tokens: number,
  batchSize: number,
  trials: number,
  seed: number,
): Uint32Array[] {
  const random = xoroshiro128plus(seed | 0);
  const order = Uint32Array.from({ length: tokens }, (_, i) => i);
  const count = Math.min(trials, Math.floor(tokens / batchSize));
  const batches: Uint32Array[] = [];
  for (let i = 0; i < count * batchSize; i++) {
    const j = uniformInt(random, i, tokens - 1);
    const swapped = order[j] ?? 0;
    order[j] = order[i] ?? 0;
    order[i] = swapped;
  }
  for (let i = 0; i < count; i++) batches.push(order.slice(i * batchSize, (i + 1) * batchSize));
  return batches;
}

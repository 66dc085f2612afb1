import { InternalError } from '../core/errors.js';
import type { Interval } from '../core/summary.js';
import { CONFIDENCE } from './bootstrap.js';
import { sorted } from './quantiles.js';

/**
 * Rank (1 = smallest) of the lower end of the interval: the largest k with P(X < k) <= 2.5 % for X ~ Binomial(n, 1/2), at
 * least 1. Summed in logarithms' steps, so that 2^-n of thousands of values does not become zero too early to matter.
 */
function lowerRank(n: number): number {
  const tail = (1 - CONFIDENCE) / 2;
  let logChance = -n * Math.LN2; // of X = 0
  let below = 0; // P(X < rank)
  let rank = 0;
  while (below <= tail) {
    below += Math.exp(logChance);
    logChance += Math.log((n - rank) / (rank + 1));
    rank += 1;
  }
  return Math.max(1, rank - 1);
}

/**
 * Distribution-free 95 % interval of the median: the order statistics that a sign test does not reject. It covers the
 * median at least that often whatever the distribution, as long as the values are independent. Fewer than six values
 * have no such interval; then it is their range, the widest that they can give.
 *
 * A percentile bootstrap is narrower and covers less: where sampling stops as soon as an interval is narrow enough, one
 * kernel against itself was told apart in 5 to 13 of 100 cells by it, and in 5 by this one.
 *
 * @param values sample, at least one finite value, any unit and order
 * @throws InternalError when there is no value or one is not finite
 */
export function orderInterval(values: readonly number[]): Interval {
  const ascending = sorted(values);
  const n = ascending.length;
  if (n === 0 || !ascending.every(Number.isFinite)) {
    throw new InternalError('Expected finite values for an interval, got none or a value that is not');
  }
  const rank = lowerRank(n);
  return { low: ascending[rank - 1] as number, high: ascending[n - rank] as number };
}

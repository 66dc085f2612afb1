import { InternalError } from '../core/errors.js';

/**
 * Benjamini and Hochberg (1995): the false discovery rate at which each test would just be called a discovery.
 *
 * @param pValues in [0, 1], any order
 * @returns q-values in the same order, each at least its p-value and at most 1
 */
export function benjaminiHochberg(pValues: readonly number[]): number[] {
  const bad = pValues.find((p) => !(p >= 0 && p <= 1));
  if (bad !== undefined) throw new InternalError(`Expected a probability for a p-value, got ${bad}`);
  const order = pValues.map((p, i) => ({ p, i })).toSorted((a, b) => a.p - b.p);
  const q: number[] = Array.from({ length: pValues.length }, () => 1);
  let least = 1;
  for (let rank = order.length; rank >= 1; rank -= 1) {
    const { p, i } = order[rank - 1] as { p: number; i: number };
    // In this order the factor is at least 1, so that q is never below p by rounding.
    least = Math.min(least, p * (order.length / rank));
    q[i] = least;
  }
  return q;
}

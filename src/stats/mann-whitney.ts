import { InternalError } from '../core/errors.js';
import { normalUpperTail } from './distributions.js';

export interface RankTest {
  /** Pairs (head, base) in which head is larger; ties count half. 0..m*n */
  readonly u: number;
  /** One-sided: chance of a U at least this large when both sides have one distribution */
  readonly pGreater: number;
  readonly pLess: number;
}

/** Both sides at most this long and no ties: the distribution of U is counted, not approximated. */
const EXACT_LIMIT = 25;

/** How many of the orderings of m and n values have each U: the recurrence of Mann and Whitney (1947). */
function orderingsByU(m: number, n: number): Float64Array {
  // counts[j][u]: orderings of i head values and j base values.
  let counts: Float64Array[] = Array.from({ length: n + 1 }, () => Float64Array.of(1));
  for (let i = 1; i <= m; i += 1) {
    const next: Float64Array[] = [Float64Array.of(1)];
    for (let j = 1; j <= n; j += 1) {
      const row = new Float64Array(i * j + 1);
      // The largest value is a head value, above all j base values, or a base value.
      (counts[j] as Float64Array).forEach((c, u) => (row[u + j] = (row[u + j] as number) + c));
      (next[j - 1] as Float64Array).forEach((c, u) => (row[u] = (row[u] as number) + c));
      next.push(row);
    }
    counts = next;
  }
  return counts[n] as Float64Array;
}

const tables = new Map<string, { readonly atLeast: Float64Array }>();

/** P(U >= u) for every integer u; kept, because a gate asks for the same sizes thousands of times. */
function exactTail(m: number, n: number): Float64Array {
  const key = `${m},${n}`;
  const known = tables.get(key);
  if (known !== undefined) return known.atLeast;
  const counts = orderingsByU(m, n);
  const total = counts.reduce((a, b) => a + b, 0);
  const atLeast = new Float64Array(counts.length);
  let sum = 0;
  for (let u = counts.length - 1; u >= 0; u -= 1) {
    sum += counts[u] as number;
    atLeast[u] = sum / total;
  }
  tables.set(key, { atLeast });
  return atLeast;
}

/** sum of t^3 - t over groups of equal values */
function tieTerm(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  return [...counts.values()].reduce((sum, t) => sum + (t ** 3 - t), 0);
}

function approximate(u: number, m: number, n: number, ties: number): RankTest {
  const all = m + n;
  const variance = ((m * n) / 12) * (all + 1 - ties / (all * (all - 1)));
  // All values equal: nothing speaks for either side.
  if (variance <= 0) return { u, pGreater: 1, pLess: 1 };
  const sd = Math.sqrt(variance);
  const centre = (m * n) / 2;
  // Half a step towards the centre, because U is a count.
  return {
    u,
    pGreater: normalUpperTail((u - centre - 0.5) / sd),
    pLess: normalUpperTail((centre - u - 0.5) / sd),
  };
}

/**
 * Mann-Whitney U test of two independent samples; exact for up to 25 values a side without ties, else the normal
 * approximation with correction for ties and continuity.
 *
 * @param base, head at least one finite value each, any order and unit
 * @throws InternalError when a side is empty or has a value that is not finite
 */
export function mannWhitney(base: readonly number[], head: readonly number[]): RankTest {
  if (base.length === 0 || head.length === 0) {
    throw new InternalError(
      `Expected values on both sides for a rank test, got ${base.length} and ${head.length}`,
    );
  }
  const all = [...base, ...head];
  if (!all.every(Number.isFinite))
    throw new InternalError('Expected finite values for a rank test, got one that is not');
  let u = 0;
  for (const h of head) for (const b of base) u += h > b ? 1 : h === b ? 0.5 : 0;
  const ties = tieTerm(all);
  const [m, n] = [head.length, base.length];
  if (ties > 0 || m > EXACT_LIMIT || n > EXACT_LIMIT) return approximate(u, m, n, ties);
  const atLeast = exactTail(m, n);
  // The distribution is symmetric: P(U <= u) = P(U >= mn - u).
  return { u, pGreater: atLeast[u] as number, pLess: atLeast[m * n - u] as number };
}

/** The smallest one-sided p that any result of m against n runs can have: 1 / C(m + n, n). */
export function smallestRankP(m: number, n: number): number {
  let orderings = 1;
  for (let i = 1; i <= n; i += 1) orderings = (orderings * (m + i)) / i;
  return 1 / orderings;
}

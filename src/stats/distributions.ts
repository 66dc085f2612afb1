import { errorFunction, gammaln } from 'simple-statistics';
import { InternalError } from '../core/errors.js';

/**
 * P(Z > z) of a standard normal Z.
 *
 * @returns relative error below 2e-7 down to about 1e-9; smaller tails lose digits and end at 0
 */
export function normalUpperTail(z: number): number {
  return Math.max(0, (1 - errorFunction(z / Math.SQRT2)) / 2);
}

const FRACTION_STEPS = 300;
const FRACTION_PRECISION = 1e-14;
/** Keeps a denominator of the continued fraction away from 0, as the method of Lentz needs. */
const TINY = 1e-300;

/** Continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by the modified method of Lentz. */
function betaFraction(x: number, a: number, b: number): number {
  const away = (v: number): number => (Math.abs(v) < TINY ? TINY : v);
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let value = d;
  for (let m = 1; m <= FRACTION_STEPS; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    let change = 1;
    for (const term of [even, odd]) {
      d = 1 / away(1 + term * d);
      c = away(1 + term / c);
      change = c * d;
      value *= change;
    }
    if (Math.abs(change - 1) < FRACTION_PRECISION) return value;
  }
  throw new InternalError(`Expected a converging fraction for x ${x}, a ${a}, b ${b}, got none`);
}

/** Regularised incomplete beta function I_x(a, b); x in [0, 1], a and b above 0. */
function regularizedBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const front = Math.exp(gammaln(a + b) - gammaln(a) - gammaln(b) + a * Math.log(x) + b * Math.log1p(-x));
  // The fraction converges quickly on this side of the mean only.
  return x < (a + 1) / (a + b + 2)
    ? (front * betaFraction(x, a, b)) / a
    : 1 - (front * betaFraction(1 - x, b, a)) / b;
}

/**
 * P(T > t) of Student's t distribution.
 *
 * @param df degrees of freedom, above 0, not necessarily an integer (Welch)
 */
export function studentUpperTail(t: number, df: number): number {
  if (!(df > 0)) throw new InternalError(`Expected degrees of freedom above 0 for df, got ${df}`);
  if (Number.isNaN(t)) throw new InternalError('Expected a number for t, got NaN');
  // Near the centre df / (df + t^2) rounds to 1 and would lose t; its complement keeps it. In the tail it is the other
  // way round.
  const half =
    t * t < df
      ? (1 - regularizedBeta((t * t) / (df + t * t), 0.5, df / 2)) / 2
      : regularizedBeta(df / (df + t * t), df / 2, 0.5) / 2;
  return t >= 0 ? half : 1 - half;
}

/**
 * The t with P(-t < T < t) = confidence, by bisection.
 *
 * @param df degrees of freedom, above 0
 * @param confidence in (0, 1)
 */
export function studentQuantile(df: number, confidence: number): number {
  const tail = (1 - confidence) / 2;
  let low = 0;
  let high = 1;
  while (studentUpperTail(high, df) > tail) high *= 2;
  for (let i = 0; i < 100 && high - low > 1e-12 * high; i += 1) {
    const middle = (low + high) / 2;
    if (studentUpperTail(middle, df) > tail) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

import { InternalError } from '../core/errors.js';
import type { UnionLaw } from '../core/union.js';

/** Parameters outside this range say nothing that its ends do not say. */
export const LAW_PARAMETER_RANGE = { min: 1e-4, max: 1e4 } as const;

/**
 * ln Γ(x + d) - ln Γ(x) for x >= 32, d >= 0, by Stirling's series of both, subtracted term by term.
 * The leading terms are written with log1p, so nothing large cancels when d is much smaller than x.
 */
function logGammaStep(x: number, d: number): number {
  const y = x + d;
  return (x - 0.5) * Math.log1p(d / x) + d * Math.log(y) - d + stirlingRest(y) - stirlingRest(x);
}

/** 1/(12x) - 1/(360x^3) + 1/(1260x^5) - 1/(1680x^7): the error at x = 32 is below 3e-17. */
function stirlingRest(x: number): number {
  const r = 1 / (x * x);
  return (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r / 1680))) / x;
}

/** Terms that are summed one by one before the closed form takes over. */
const DIRECT_TERMS = 256;

/**
 * ln of the probability that a neuron stays inactive over a whole batch: ln [Beta(a, b + B) / Beta(a, b)].
 *
 * Equal to the sum over i < B of ln[(b + i) / (a + b + i)]. The first terms are added as they stand, which keeps full
 * relative accuracy where the answer is tiny; the rest is a difference of two log-gamma differences far from the pole.
 * Relative error below 1e-12 for a, b in 1e-4..1e4 and B up to 1e6 (checked against 60-digit arithmetic in the tests).
 *
 * @param a alpha > 0
 * @param b beta > 0
 * @param batchSize B, integer >= 0
 */
export function logInactive(a: number, b: number, batchSize: number): number {
  const direct = Math.min(batchSize, DIRECT_TERMS);
  let sum = 0;
  // The terms shrink with i: adding from the last keeps the rounding of the small ones.
  for (let i = direct - 1; i >= 0; i--) sum -= Math.log1p(a / (b + i));
  if (batchSize <= DIRECT_TERMS) return sum;
  return sum + logGammaStep(b + DIRECT_TERMS, a) - logGammaStep(b + batchSize, a);
}

function logInactiveOf(law: UnionLaw, batchSize: number): number {
  if (law.kind === 'beta-binomial') return logInactive(law.alpha, law.beta, batchSize);
  // 0 * -Infinity would be NaN: an empty batch activates nothing even at p = 1.
  return batchSize === 0 ? 0 : batchSize * Math.log1p(-law.p);
}

function checkBatch(batchSize: number): void {
  if (!Number.isSafeInteger(batchSize) || batchSize < 0) {
    throw new InternalError(`Expected an integer >= 0 for the batch size of a union law, got ${batchSize}`);
  }
}

/**
 * Expected share of neurons that at least one of B tokens activates.
 *
 * @param law beta-binomial: u(B) = 1 - Beta(a, b + B) / Beta(a, b) (ours); independent: 1 - (1 - p)^B
 * @param batchSize B, integer >= 0, to 1e6 and beyond
 * @returns density in [0, 1]
 */
export function unionDensity(law: UnionLaw, batchSize: number): number {
  checkBatch(batchSize);
  return 0 - Math.expm1(logInactiveOf(law, batchSize));
}

/**
 * Standard error of a layer's union under the law, from its D neurons having drawn their own probabilities:
 * sqrt(Var[1 - (1 - p)^B] / D) (ours). What two layers of the same law differ by, however many tokens are measured.
 *
 * @param neurons D >= 1
 * @returns density; 0 for the independent law, whose neurons all have the same probability
 */
export function unionSamplingError(law: UnionLaw, batchSize: number, neurons: number): number {
  checkBatch(batchSize);
  const once = logInactiveOf(law, batchSize);
  const twice = logInactiveOf(law, 2 * batchSize);
  // E[q^2] - E[q]^2 = E[q]^2 (E[q^2] / E[q]^2 - 1), q = (1 - p)^B; never negative but for rounding.
  if (once === -Infinity) return 0;
  const ratio = Math.expm1(twice - 2 * once);
  const variance = Number.isFinite(ratio) ? Math.exp(2 * once) * ratio : Math.exp(twice) - Math.exp(2 * once);
  return Math.sqrt(Math.max(0, variance) / neurons);
}

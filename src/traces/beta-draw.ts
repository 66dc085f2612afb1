import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { UnionLaw } from '../core/union.js';

/** A seeded generator of its own for every layer. */
export function layerGenerator(seed: number, layer: number): RandomGenerator {
  return xoroshiro128plus((seed ^ Math.imul(layer + 1, 0x9e3779b1)) | 0);
}

/** Uniform in (0, 1): logarithms of it are finite. */
function open01(random: RandomGenerator): number {
  for (;;) {
    const u = uniformFloat64(random);
    if (u > 0) return u;
  }
}

function normal(random: RandomGenerator): number {
  return Math.sqrt(-2 * Math.log(open01(random))) * Math.cos(2 * Math.PI * uniformFloat64(random));
}

/**
 * ln of a Gamma(shape, 1) variate (Marsaglia and Tsang 2000). In logarithms, because for shape 1e-3 most variates lie
 * below the smallest double.
 */
function logGammaVariate(random: RandomGenerator, shape: number): number {
  if (shape < 1) return logGammaVariate(random, shape + 1) + Math.log(open01(random)) / shape;
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(open01(random)) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}

/**
 * Activation probabilities of a layer's neurons, drawn from the law.
 *
 * @param law beta-binomial: independent Beta(alpha, beta) variates; independent: p for all
 * @param neurons D
 * @returns [D] probabilities in [0, 1], reproducible for a seed of the generator
 */
export function drawProbabilities(law: UnionLaw, neurons: number, random: RandomGenerator): Float64Array {
  const p = new Float64Array(neurons);
  if (law.kind === 'independent') return p.fill(law.p);
  for (let j = 0; j < neurons; j++) {
    const odds = logGammaVariate(random, law.beta) - logGammaVariate(random, law.alpha);
    p[j] = 1 / (1 + Math.exp(odds));
  }
  return p;
}

/** Probabilities as the 32-bit thresholds of the native draw; exact to 2^-32, so 1 becomes 1 - 2^-32. */
export function toThresholds(probabilities: Float64Array): Uint32Array {
  return Uint32Array.from(probabilities, (p) => Math.min(2 ** 32 - 1, Math.round(p * 2 ** 32)));
}

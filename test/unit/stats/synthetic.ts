import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { streamSeed } from '../../../src/stats/bootstrap.js';

/** Standard normal numbers by Box and Muller, seeded. */
export function normals(seed: number): () => number {
  const random = xoroshiro128plus(streamSeed(seed, 999));
  const uniform = (): number => 1 - uniformFloat64(random);
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Latencies around `medianNs` with relative noise; the true median is exactly `medianNs`. */
export function lognormalSamples(
  next: () => number,
  count: number,
  medianNs: number,
  noise: number,
): number[] {
  return Array.from({ length: count }, () => medianNs * Math.exp(noise * next()));
}

import { describe, expect, it } from 'vitest';
import { normalizeAA, pairedSpeedup, roundRatios } from '../../../src/stats/paired.js';
import { lognormalSamples, normals } from './synthetic.js';

const NOISE = 0.005;
const ROUNDS = 30;

/** Two candidates that share a drift of up to 20 % over the cell, as a warming device has. */
function driftingPair(seed: number, ratio: number): { baseline: number[]; candidate: number[] } {
  const next = normals(seed);
  const drift = (r: number): number => 1 + 0.2 * Math.sin((Math.PI * r) / ROUNDS);
  const baseline = lognormalSamples(next, ROUNDS, 10_000, NOISE).map((v, r) => v * drift(r));
  const candidate = lognormalSamples(next, ROUNDS, 10_000 / ratio, NOISE).map((v, r) => v * drift(r));
  return { baseline, candidate };
}

describe('roundRatios', () => {
  it('divides baseline by candidate and leaves out rounds that lack one', () => {
    expect(roundRatios([10, null, 30, 40], [5, 5, null, 10])).toEqual([2, 4]);
    expect(roundRatios([10, 20, 30], [5])).toEqual([2]);
  });
});

describe('pairedSpeedup', () => {
  it('is the median of the ratios, not the ratio of the medians', () => {
    // Ratios 2, 0.5, 4: median 2. The medians 20 and 40 would say 0.5.
    expect(pairedSpeedup([10, 20, 400], [5, 40, 100])?.ratio).toBe(2);
  });

  it('is null without a common round', () => {
    expect(pairedSpeedup([1, null], [null, 1])).toBeNull();
    expect(pairedSpeedup([], [])).toBeNull();
  });

  it('finds a 3 % difference under drift that is seven times larger', () => {
    let found = 0;
    for (let seed = 0; seed < 100; seed += 1) {
      const { baseline, candidate } = driftingPair(seed, 1.03);
      const speedup = pairedSpeedup(baseline, candidate);
      if (speedup !== null && speedup.ci.low > 1) found += 1;
    }
    expect(found).toBe(100);
  });
});

describe('normalizeAA', () => {
  it('contains 1 in at least 90 of 100 cells of the same kernel twice', () => {
    let contained = 0;
    for (let seed = 0; seed < 100; seed += 1) {
      const { baseline, candidate } = driftingPair(seed, 1);
      const aa = normalizeAA(baseline, candidate);
      if (aa !== null && aa.ci.low <= 1 && 1 <= aa.ci.high) contained += 1;
    }
    expect(contained).toBeGreaterThanOrEqual(90);
    // An interval that always contains 1 would be too wide to find anything.
    expect(contained).toBeLessThan(100);
  });

  it('reports rounds and the relative half-width', () => {
    const aa = normalizeAA([10, 10, null, 10], [10, 10, 10, 10]);
    expect(aa).toEqual({ ratio: 1, ci: { low: 1, high: 1 }, rounds: 3, relativeSpread: 0 });
    const noisy = normalizeAA([10, 11, 12], [10, 10, 10]);
    // Ratios 1, 1.1, 1.2: the interval is [1, 1.2] (fewer than six values: their range), half-width 0.1 around 1.1.
    expect(noisy?.relativeSpread).toBeCloseTo(0.1 / 1.1, 12);
    expect(normalizeAA([null], [1])).toBeNull();
  });
});

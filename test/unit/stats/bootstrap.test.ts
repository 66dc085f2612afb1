import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import { medianInterval, relativeHalfWidth, streamSeed } from '../../../src/stats/bootstrap.js';
import { lognormalSamples, normals } from './synthetic.js';

describe('medianInterval', () => {
  it('repeats exactly for a seed, whatever the order of the values', () => {
    const values = lognormalSamples(normals(1), 40, 1_000, 0.1);
    const interval = medianInterval(values, 7);
    expect(medianInterval(values.toReversed(), 7)).toEqual(interval);
    // End points are sample values, so with many resamples two seeds may well agree; with few they do not.
    const coarse = [1, 2, 3, 4].map((seed) => medianInterval(values, seed, 5).low);
    expect(new Set(coarse).size).toBeGreaterThan(1);
  });

  it('is a point where there is nothing to vary', () => {
    expect(medianInterval([5], 1)).toEqual({ low: 5, high: 5 });
    expect(medianInterval([3, 3, 3], 1)).toEqual({ low: 3, high: 3 });
  });

  it('agrees with the exact resampling distribution of three values', () => {
    // The median of a resample of {1, 2, 3} is 1 or 3 with probability 7/27 each, so 2.5 % and 97.5 % are the ends.
    expect(medianInterval([2, 3, 1], 3)).toEqual({ low: 1, high: 3 });
    // Two values: the mean of both draws; 1, 1.5, 2 with 1/4, 1/2, 1/4.
    expect(medianInterval([2, 1], 3)).toEqual({ low: 1, high: 2 });
  });

  it('agrees with binomial order statistics of 101 values', () => {
    // The median of a resample is <= the k-th value when Binomial(101, k/101) >= 51. That first exceeds 2.5 % at k = 41
    // and 97.5 % at k = 60 (normal approximation 51 -+ 1.96 * sqrt(101)/2 = 41.2, 60.8).
    const { low, high } = medianInterval(
      Array.from({ length: 101 }, (_, i) => i + 1),
      11,
      20_000,
    );
    expect(Math.abs(low - 41)).toBeLessThanOrEqual(1);
    expect(Math.abs(high - 61)).toBeLessThanOrEqual(1);
  });

  it.each([10, 30, 101])(
    'covers the true median of %i lognormal samples in 0.90 to 0.99 of 300 trials',
    (count) => {
      let covered = 0;
      for (let trial = 0; trial < 300; trial += 1) {
        const samples = lognormalSamples(normals(trial), count, 1_000, 0.2);
        const { low, high } = medianInterval(samples, trial);
        if (low <= 1_000 && 1_000 <= high) covered += 1;
      }
      expect(covered / 300).toBeGreaterThanOrEqual(0.9);
      expect(covered / 300).toBeLessThanOrEqual(0.99);
    },
  );

  it('takes under a second for 300 candidates of 100 samples', () => {
    const samples = lognormalSamples(normals(5), 100, 1_000, 0.05);
    // Processor time: other work on the machine does not count.
    const before = process.cpuUsage();
    for (let i = 0; i < 300; i += 1) medianInterval(samples, i);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(1);
  });

  it('refuses no values and values that are not finite', () => {
    expect(() => medianInterval([], 1)).toThrow(InternalError);
    expect(() => medianInterval([1, Number.NaN, 2], 1)).toThrow(InternalError);
    expect(() => medianInterval([1, Infinity], 1)).toThrow(InternalError);
  });
});

describe('streamSeed', () => {
  it('gives different streams and seeds different numbers', () => {
    const seen = new Set<number>();
    for (let seed = 0; seed < 50; seed += 1) for (let s = 0; s < 50; s += 1) seen.add(streamSeed(seed, s));
    expect(seen.size).toBe(2_500);
  });
});

describe('relativeHalfWidth', () => {
  it('is half the width over the centre', () => {
    expect(relativeHalfWidth({ low: 99, high: 101 }, 100)).toBeCloseTo(0.01, 15);
  });
});

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import { median, quantile, quartiles, sorted } from '../../../src/stats/quantiles.js';

describe('quantile', () => {
  it('interpolates as type 7 does', () => {
    // numpy.percentile([1, 2, 4, 8], [25, 50, 75, 90]) by hand: index 0.75, 1.5, 2.25, 2.7
    const x = [1, 2, 4, 8];
    expect(quantile(x, 0.25)).toBe(1.75);
    expect(quantile(x, 0.5)).toBe(3);
    expect(quantile(x, 0.75)).toBe(5);
    expect(quantile(x, 0.9)).toBeCloseTo(6.8, 12);
    expect(quantile(x, 0)).toBe(1);
    expect(quantile(x, 1)).toBe(8);
  });

  it('refuses no values and a probability outside [0, 1]', () => {
    expect(() => quantile([], 0.5)).toThrow(InternalError);
    for (const p of [-0.1, 1.1, Number.NaN]) expect(() => quantile([1], p)).toThrow(/for p, got/);
  });

  it('stays within the values and grows with p', () => {
    const values = fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 });
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (v, p) => {
        const x = sorted(v);
        const q = quantile(x, p);
        const slack = 1e-6;
        expect(q).toBeGreaterThanOrEqual((x[0] ?? 0) - slack);
        expect(q).toBeLessThanOrEqual((x.at(-1) ?? 0) + slack);
        expect(q).toBeLessThanOrEqual(quantile(x, 1) + slack);
        expect(q).toBeGreaterThanOrEqual(quantile(x, p / 2) - slack);
      }),
    );
  });
});

describe('quartiles and median', () => {
  it('sorts by value, not by text, and leaves the input alone', () => {
    const values = [100, 9, 20, 3];
    expect(quartiles(values)).toEqual({ q1: 7.5, median: 14.5, q3: 40 });
    expect(values).toEqual([100, 9, 20, 3]);
    expect(median([10, 9, 2])).toBe(9);
  });
});

import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import { orderInterval } from '../../../src/stats/order-interval.js';
import { normals } from './synthetic.js';

const counting = (n: number): number[] => Array.from({ length: n }, (_, i) => n - i);

describe('orderInterval', () => {
  // Ranks of the sign test at 95 %, as tables of it have them (Conover, Practical Nonparametric Statistics).
  it.each([
    [6, 1, 6],
    [8, 1, 8],
    [9, 2, 8],
    [10, 2, 9],
    [20, 6, 15],
    [30, 10, 21],
    [50, 18, 33],
    [100, 40, 61],
  ])('of %s values is the values of rank %s and %s', (n, low, high) => {
    expect(orderInterval(counting(n))).toEqual({ low, high });
  });

  it('of fewer than six values is their range', () => {
    expect(orderInterval([3])).toEqual({ low: 3, high: 3 });
    expect(orderInterval([2, 9, 4, 1])).toEqual({ low: 1, high: 9 });
  });

  it('of thousands of values has the ranks of the normal approximation, n/2 -+ 0.98 sqrt(n)', () => {
    const { low, high } = orderInterval(counting(4000));
    expect(Math.abs(low - (2000 - 0.98 * Math.sqrt(4000)))).toBeLessThan(2);
    expect(low + high).toBe(4001);
  });

  it('covers the median in 95 of 100 samples and more, and not always', () => {
    let covered = 0;
    for (let seed = 0; seed < 400; seed += 1) {
      const next = normals(seed);
      const { low, high } = orderInterval(Array.from({ length: 40 }, () => next()));
      if (low <= 0 && high >= 0) covered += 1;
    }
    expect(covered).toBeGreaterThanOrEqual(372);
    expect(covered).toBeLessThan(400);
  });

  it('refuses nothing and what is no number', () => {
    expect(() => orderInterval([])).toThrow(InternalError);
    expect(() => orderInterval([1, Number.NaN])).toThrow(InternalError);
  });
});

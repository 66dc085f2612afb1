import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalUpperTail, studentQuantile, studentUpperTail } from '../../../src/stats/distributions.js';
import { mannWhitney, smallestRankP } from '../../../src/stats/mann-whitney.js';
import { benjaminiHochberg } from '../../../src/stats/multiple-tests.js';
import { studentTest, welchTest } from '../../../src/stats/student-t.js';

/** Values marked SciPy were generated with SciPy 1.17. */
const relative = (actual: number, expected: number): number => Math.abs(actual / expected - 1);

describe('distributions', () => {
  it.each([
    [0, 0.5],
    [1, 0.15865525393145707],
    [-1.5, 0.9331927987311419],
    [2.5, 0.006209665325776132],
    [4, 3.167124183311986e-5],
    [5, 2.866515718791933e-7],
  ])('gives the normal upper tail of %s as SciPy does', (z, expected) => {
    expect(relative(normalUpperTail(z), expected)).toBeLessThan(1e-6);
  });

  it.each([
    [0, 5, 0.5],
    [-1.2, 3, 0.8418689426509474],
    [4.5, 7, 0.0013991650389213158],
    [10, 2, 0.004926228511662845],
    [3.3, 15.7, 0.002307680022942649],
    [30, 7, 5.894234440366572e-9],
  ])('gives the t tail of t %s, df %s as SciPy does', (t, df, expected) => {
    expect(relative(studentUpperTail(t, df), expected)).toBeLessThan(1e-8);
  });

  it('matches the closed form for one degree of freedom, the Cauchy distribution', () => {
    fc.assert(
      fc.property(fc.double({ min: -50, max: 50, noNaN: true }), (t) => {
        expect(studentUpperTail(t, 1)).toBeCloseTo(0.5 - Math.atan(t) / Math.PI, 9);
      }),
    );
  });

  it.each([1.570796369566455e-9, 1e-7, -3e-9])('keeps a t of %s, whose square is lost beside 1', (t) => {
    expect(Math.abs(studentUpperTail(t, 1) - (0.5 - Math.atan(t) / Math.PI))).toBeLessThan(1e-15);
  });

  it.each([
    [1, 12.706204736174694],
    [2, 4.302652729749462],
    [7, 2.364624251592784],
    [100, 1.9839715185235518],
    [6.3, 2.418942809942905],
  ])('gives the 95 %% quantile for df %s as tables do', (df, expected) => {
    expect(relative(studentQuantile(df, 0.95), expected)).toBeLessThan(1e-8);
  });

  it('refuses degrees of freedom that are not positive', () => {
    expect(() => studentUpperTail(1, 0)).toThrow('degrees of freedom above 0');
  });
});

describe('mannWhitney', () => {
  it('counts every ordering of three against two by hand', () => {
    // 10 orderings of 3 head and 2 base values; U = 6 in one of them, U = 5 in one more.
    expect(mannWhitney([1, 2], [3, 4, 5])).toEqual({ u: 6, pGreater: 0.1, pLess: 1 });
    expect(mannWhitney([1, 3], [2, 4, 5])).toEqual({ u: 5, pGreater: 0.2, pLess: 0.9 });
  });

  it('is exact for small samples (SciPy)', () => {
    const test = mannWhitney([1.1, 2.2, 3.3, 4.4, 5], [2.5, 3.5, 6, 7]);
    expect(test.u).toBe(15);
    expect(test.pGreater).toBeCloseTo(0.14285714285714285, 12);
    expect(test.pLess).toBeCloseTo(0.9047619047619049, 12);
  });

  it('corrects for ties and continuity (SciPy)', () => {
    const test = mannWhitney([1, 2, 2, 3, 5, 5, 5, 8], [2, 3, 5, 6, 6, 9, 9]);
    expect(test.u).toBe(41);
    expect(test.pGreater).toBeCloseTo(0.07090770927986131, 6);
    expect(test.pLess).toBeCloseTo(0.9436971390345097, 6);
  });

  it('says nothing when all values are equal', () => {
    expect(mannWhitney([1, 1, 1], [1, 1])).toEqual({ u: 3, pGreater: 1, pLess: 1 });
  });

  it('mirrors when the sides are exchanged, and depends on ranks alone', () => {
    const side = fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(side, side, (a, b) => {
        const ab = mannWhitney(a, b);
        const ba = mannWhitney(b, a);
        expect(ab.pGreater).toBeCloseTo(ba.pLess, 12);
        expect(ab.u + ba.u).toBe(a.length * b.length);
        const logs = (v: number[]): number[] => v.map(Math.log);
        expect(mannWhitney(logs(a), logs(b))).toEqual(ab);
      }),
    );
  });

  it('counts up to 25 a side and approximates beyond (SciPy)', () => {
    const base = Array.from({ length: 26 }, (_, i) => 2 * i);
    const head = Array.from({ length: 25 }, (_, i) => 2 * i + 13);
    expect(relative(mannWhitney(base.slice(0, 25), head).pGreater, 0.002747607192170485)).toBeLessThan(1e-9);
    expect(relative(mannWhitney(base, head).pGreater, 0.0056339364611123054)).toBeLessThan(1e-5);
  });

  it('reaches its smallest p when the sides do not overlap', () => {
    const base = [1, 2, 3, 4, 5, 6, 7, 8];
    const head = base.map((v) => v + 100);
    expect(smallestRankP(8, 8)).toBeCloseTo(1 / 12870, 15);
    expect(mannWhitney(base, head).pGreater).toBeCloseTo(1 / 12870, 15);
  });

  it('refuses empty sides and values that are not finite', () => {
    expect(() => mannWhitney([], [1])).toThrow('values on both sides');
    expect(() => mannWhitney([1], [Number.NaN])).toThrow('finite values');
  });
});

describe('benjaminiHochberg', () => {
  it('is what SciPy gives, in the order of the input', () => {
    const q = benjaminiHochberg([0.01, 0.04, 0.03, 0.005, 0.6, 0.2]);
    [0.03, 0.06, 0.06, 0.03, 0.6, 0.24].forEach((expected, i) => expect(q[i]).toBeCloseTo(expected, 12));
  });

  it('never is below p nor above 1, keeps the order, and is p for one test', () => {
    const anyP = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 });
    fc.assert(
      fc.property(anyP, (values) => {
        const q = benjaminiHochberg(values);
        values.forEach((v, i) => {
          expect(q[i]).toBeGreaterThanOrEqual(v);
          expect(q[i]).toBeLessThanOrEqual(1);
        });
        const byP = values.map((p, i) => ({ p, q: q[i] as number })).toSorted((a, b) => a.p - b.p);
        expect(byP.map((t) => t.q)).toEqual(byP.map((t) => t.q).toSorted((a, b) => a - b));
      }),
    );
    expect(benjaminiHochberg([0.03])).toEqual([0.03]);
    expect(benjaminiHochberg([])).toEqual([]);
  });

  it('refuses what is no probability', () => {
    expect(() => benjaminiHochberg([0.1, Number.NaN])).toThrow('a probability');
  });
});

describe('t tests', () => {
  it('tests a mean against 0 (SciPy)', () => {
    const t = studentTest([0.021, 0.034, 0.018, 0.029, 0.025, 0.041, 0.012, 0.03]);
    expect(t.mean).toBeCloseTo(0.02625, 12);
    expect(relative(t.pGreater, 4.475188283580575e-5)).toBeLessThan(1e-8);
    expect(t.pLess).toBeCloseTo(1 - 4.475188283580575e-5, 10);
    expect(t.interval.low).toBeCloseTo(0.018513175962128967, 9);
    expect(t.interval.high).toBeCloseTo(0.03398682403787104, 9);
  });

  it('compares samples of unequal variance (SciPy)', () => {
    const t = welchTest([1.2, 1.9, 3.1, 2.2], [2.5, 3.8, 2.9, 4.4, 5.1]);
    expect(t.mean).toBeCloseTo(1.64, 12);
    expect(relative(t.pGreater, 0.016385929494646238)).toBeLessThan(1e-8);
    expect(t.interval.low).toBeCloseTo(0.17867599190229577, 8);
    expect(t.interval.high).toBeCloseTo(3.1013240080977047, 8);
  });

  it('decides values without spread by their sign alone', () => {
    expect(studentTest([0.5, 0.5])).toEqual({
      mean: 0.5,
      interval: { low: 0.5, high: 0.5 },
      pGreater: 0,
      pLess: 1,
    });
    expect(studentTest([0, 0]).pGreater).toBe(1);
  });

  it('refuses fewer than two values', () => {
    expect(() => studentTest([1])).toThrow('two finite values');
  });
});

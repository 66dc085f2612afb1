import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UnionLaw, UnionPoint } from '../../../src/core/union.js';
import { fitUnionLaw, lawError } from '../../../src/theory/union-fit.js';
import { unionDensity } from '../../../src/theory/union.js';

const pointsOf = (law: UnionLaw, batches: readonly number[]): UnionPoint[] =>
  batches.map((batchSize) => ({ batchSize, density: unionDensity(law, batchSize) }));

describe('fitUnionLaw', () => {
  test('finds the law that drew the points', () => {
    const log = (min: number, max: number): fc.Arbitrary<number> =>
      fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp);
    fc.assert(
      fc.property(log(0.02, 3), log(0.1, 100), (alpha, beta) => {
        const points = pointsOf({ kind: 'beta-binomial', alpha, beta }, [1, 8, 64]);
        const fit = fitUnionLaw(points, 'beta-binomial');
        expect(fit?.error.worst).toBeLessThan(1e-6);
      }),
      { numRuns: 50 },
    );
  });

  test('recovers known parameters and predicts what it never saw', () => {
    const truth: UnionLaw = { kind: 'beta-binomial', alpha: 0.31, beta: 7.4 };
    const fit = fitUnionLaw(pointsOf(truth, [1, 2, 8, 64]), 'beta-binomial', [1, 8, 64]);
    if (fit?.law.kind !== 'beta-binomial') throw new Error('no beta-binomial fit');
    expect(fit.law.alpha).toBeCloseTo(0.31, 4);
    expect(fit.law.beta).toBeCloseTo(7.4, 3);
    expect(fit.fittedOn).toEqual([1, 8, 64]);
    expect(unionDensity(fit.law, 100_000)).toBeCloseTo(unionDensity(truth, 100_000), 5);
  });

  test('skips points that are not there and says when one point must do', () => {
    const fit = fitUnionLaw(
      [
        { batchSize: 1, density: null },
        { batchSize: 8, density: null },
        { batchSize: 2, density: 0.75 },
      ],
      'beta-binomial',
    );
    // 1 - (1 - 0.5)^2 = 0.75
    expect(fit?.law).toEqual({ kind: 'independent', p: 0.5 });
    expect(fit?.warnings).toEqual(['one point only (batch 2): independent law through it']);
    expect(fitUnionLaw([{ batchSize: 1, density: null }], 'beta-binomial')).toBeNull();
    expect(fitUnionLaw([], 'independent')).toBeNull();
  });

  test('the independent law goes through the smallest batch', () => {
    const fit = fitUnionLaw(
      [
        { batchSize: 8, density: 0.3 },
        { batchSize: 1, density: 0.25 },
      ],
      'independent',
    );
    expect(fit?.law.kind === 'independent' ? fit.law.p : null).toBeCloseTo(0.25, 14);
    // Error at B = 8: |1 - 0.75^8 - 0.3|, at B = 1: 0
    expect(fit?.error.worst).toBeCloseTo(1 - 0.75 ** 8 - 0.3, 12);
    expect(fit?.error.meanAbsolute).toBeCloseTo((1 - 0.75 ** 8 - 0.3) / 2, 12);
  });

  test('a layer that never activates, or always does, is fitted as such', () => {
    for (const density of [0, 1]) {
      const points = [1, 8, 64].map((batchSize) => ({ batchSize, density }));
      expect(fitUnionLaw(points, 'beta-binomial')?.error.worst).toBeLessThan(1e-3);
    }
  });

  test('never leaves the range of the parameters, whatever the points', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 5 }),
        (densities) => {
          const fit = fitUnionLaw(
            densities.map((density, i) => ({ batchSize: 4 ** i, density })),
            'beta-binomial',
          );
          if (fit?.law.kind !== 'beta-binomial') throw new Error('no beta-binomial fit');
          expect(fit.law.alpha).toBeGreaterThanOrEqual(1e-4 * (1 - 1e-9));
          expect(fit.law.beta).toBeLessThanOrEqual(1e4 * (1 + 1e-9));
          expect(Number.isFinite(fit.error.meanAbsolute)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });
});

test('lawError is null where there is nothing to compare', () => {
  expect(lawError({ kind: 'independent', p: 0.1 }, [{ batchSize: 1, density: null }])).toBeNull();
});

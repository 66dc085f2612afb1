import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { UnionLaw } from '../../../src/core/union.js';
import { logInactive, unionDensity, unionSamplingError } from '../../../src/theory/union.js';

const fixture = JSON.parse(
  readFileSync(new URL('../../fixtures/union/log_inactive.json', import.meta.url), 'utf8'),
) as { cases: [number, number, number, string][] };

const beta = (alpha: number, b: number): UnionLaw => ({ kind: 'beta-binomial', alpha, beta: b });
const anyParameter = fc.double({ min: Math.log(1e-4), max: Math.log(1e4), noNaN: true }).map(Math.exp);

describe('logInactive', () => {
  test('agrees with 60-digit arithmetic to 1e-12 over the whole range of a, b and B', () => {
    expect(fixture.cases.length).toBe(504);
    let worst = 0;
    for (const [a, b, batch, text] of fixture.cases) {
      const exact = Number(text);
      worst = Math.max(worst, Math.abs(logInactive(a, b, batch) - exact) / Math.abs(exact));
    }
    expect(worst).toBeLessThan(1e-12);
  });

  test('hand-computed: a = b = 1 gives 1 / (B + 1)', () => {
    expect(logInactive(1, 1, 3)).toBeCloseTo(Math.log(1 / 4), 14);
    expect(logInactive(1, 1, 999_999)).toBeCloseTo(Math.log(1e-6), 12);
    expect(logInactive(1, 1, 0)).toBe(0);
  });

  test('the closed form continues the sum without a step', () => {
    fc.assert(
      fc.property(anyParameter, anyParameter, fc.integer({ min: 250, max: 260 }), (a, b, n) => {
        const step = logInactive(a, b, n) - logInactive(a, b, n + 1);
        const expected = Math.log1p(a / (b + n));
        expect(Math.abs(step - expected)).toBeLessThan(1e-12 * Math.max(1, Math.abs(logInactive(a, b, n))));
      }),
    );
  });
});

describe('unionDensity', () => {
  test('hand-computed values', () => {
    // E[1 - (1 - p)^2] for p uniform: 1 - 1/3
    expect(unionDensity(beta(1, 1), 2)).toBeCloseTo(2 / 3, 14);
    expect(unionDensity(beta(1, 3), 1)).toBeCloseTo(0.25, 14);
    expect(unionDensity({ kind: 'independent', p: 0.5 }, 3)).toBeCloseTo(0.875, 14);
    expect(unionDensity({ kind: 'independent', p: 1 }, 3)).toBe(1);
    expect(unionDensity({ kind: 'independent', p: 1 }, 0)).toBe(0);
    expect(unionDensity({ kind: 'independent', p: 0 }, 100)).toBe(0);
  });

  test('tiny unions keep their relative accuracy', () => {
    // a << b: u(1) = a / (a + b) = 1e-8 / (1 + 1e-8)
    expect(unionDensity(beta(1e-4, 1e4), 1) / (1e-8 / (1 + 1e-8))).toBeCloseTo(1, 12);
  });

  test('rises with the batch, stays in [0, 1], lies below the independent law of the same mean', () => {
    fc.assert(
      fc.property(anyParameter, anyParameter, fc.integer({ min: 1, max: 500_000 }), (a, b, n) => {
        const law = beta(a, b);
        const u = unionDensity(law, n);
        expect(u).toBeGreaterThanOrEqual(0);
        expect(u).toBeLessThanOrEqual(1);
        expect(unionDensity(law, 2 * n)).toBeGreaterThanOrEqual(u);
        const independent = unionDensity({ kind: 'independent', p: unionDensity(law, 1) }, n);
        expect(u).toBeLessThanOrEqual(independent * (1 + 1e-9));
      }),
    );
  });

  test('a batch that is no count is a bug of the caller', () => {
    expect(() => unionDensity(beta(1, 1), 1.5)).toThrow('got 1.5');
    expect(() => unionDensity(beta(1, 1), -1)).toThrow('got -1');
  });
});

describe('unionSamplingError', () => {
  test('hand-computed: p uniform, B = 1: Var[p] = 1/12', () => {
    expect(unionSamplingError(beta(1, 1), 1, 3)).toBeCloseTo(Math.sqrt(1 / 12 / 3), 14);
    // B = 2: E[(1-p)^4] - E[(1-p)^2]^2 = 1/5 - 1/9
    expect(unionSamplingError(beta(1, 1), 2, 1)).toBeCloseTo(Math.sqrt(1 / 5 - 1 / 9), 14);
  });

  test('is zero where all neurons are alike and finite where the union is full', () => {
    expect(unionSamplingError({ kind: 'independent', p: 0.3 }, 8, 100)).toBeLessThan(1e-9);
    expect(unionSamplingError({ kind: 'independent', p: 1 }, 8, 100)).toBe(0);
    fc.assert(
      fc.property(anyParameter, anyParameter, fc.integer({ min: 1, max: 500_000 }), (a, b, n) => {
        const e = unionSamplingError(beta(a, b), n, 4096);
        // A variable in [0, 1] has a variance of at most 1/4.
        expect(e).toBeGreaterThanOrEqual(0);
        expect(e).toBeLessThanOrEqual(Math.sqrt(0.25 / 4096) * (1 + 1e-9));
      }),
    );
  });
});

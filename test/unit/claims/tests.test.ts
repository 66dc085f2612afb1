import { describe, expect, test } from 'vitest';

import { applyTest, type Measured } from '../../../src/claims/tests.js';

/** x = 1, 2, 4, ...; intervals +-1 %. */
const series = (...values: number[]): Measured[] =>
  values.map((value, i) => ({ x: 2 ** i, value, interval: { low: 0.99 * value, high: 1.01 * value } }));
const holds = (name: Parameters<typeof applyTest>[0], points: readonly Measured[]) =>
  applyTest(name, points, null).holds;

describe('rising and falling', () => {
  test('a rise with every step holds; its value is last over first', () => {
    const found = applyTest('rising', series(10, 20, 40), null);
    expect(found.holds).toBe(true);
    expect(found.value).toBe(4);
    // 40 * 0.99 / (10 * 1.01) and 40 * 1.01 / (10 * 0.99)
    expect(found.interval?.low).toBeCloseTo(39.6 / 10.1, 12);
    expect(found.interval?.high).toBeCloseTo(40.4 / 9.9, 12);
  });

  test('a fall of 10 % on the way breaks it, one of 4 % does not', () => {
    expect(applyTest('rising', series(10, 20, 18, 40), null)).toMatchObject({
      holds: false,
      reason: 'falls from 2 to 4',
    });
    expect(holds('rising', series(10, 20, 19.2, 40))).toBe(true);
  });

  test('a level series neither rises nor falls', () => {
    expect(applyTest('rising', series(10, 10.1, 10.05), null).reason).toBe('not higher at 4 than at 1');
    expect(applyTest('falling', series(10, 10.1, 10.05), null).reason).toBe('not lower at 4 than at 1');
  });

  test('falling is rising mirrored', () => {
    const found = applyTest('falling', series(40, 20, 10), null);
    expect(found).toMatchObject({ holds: true, value: 0.25, reason: null });
    expect(applyTest('falling', series(40, 10, 20), null).reason).toBe('rises from 2 to 4');
  });
});

describe('no-fall', () => {
  test('a rise that levels off holds; nothing is lower than what came before', () => {
    expect(applyTest('no-fall', series(2, 3, 3), null)).toMatchObject({ holds: true, value: 1 });
  });

  test('compares with the largest before, not with the last', () => {
    // 2.85 / 3 = 0.95, 2.7 / 3 = 0.9: each step is small, the fall from 3 is not.
    const found = applyTest('no-fall', series(2, 3, 2.85, 2.7), null);
    expect(found.holds).toBe(false);
    expect(found.value).toBeCloseTo(0.9, 12);
    expect(found.reason).toBe('falls from 2 to 8');
  });
});

describe('linear', () => {
  const densities = [0.1, 0.2, 0.5, 1];
  const at = (f: (d: number) => number): Measured[] =>
    densities.map((x) => ({ x, value: f(x), interval: { low: f(x), high: f(x) } }));

  test('a line with a small fixed part holds exactly', () => {
    const found = applyTest(
      'linear',
      at((d) => 10 + 90 * d),
      null,
    );
    expect(found.holds).toBe(true);
    expect(found.value).toBeCloseTo(0, 9);
    expect(found.reason).toBe('10 % of the time at 1 does not depend on the density');
  });

  test('a flat series is a line and not linear in its density', () => {
    expect(
      applyTest(
        'linear',
        at((d) => 80 + 20 * d),
        null,
      ),
    ).toMatchObject({
      holds: false,
      reason: '80 % of the time at 1 does not depend on the density',
    });
  });

  test('distances count in per cent of the last value', () => {
    // Through (1, 1), (2, 3), (3, 3), (4, 5), (5, 5) goes 0.4 + x: off by 0.4, 0.6, 0.4, 0.6, 0.4 of 5.
    const points = [1, 3, 3, 5, 5].map((value, i) => ({
      x: i + 1,
      value,
      interval: { low: value, high: value },
    }));
    const found = applyTest('linear', points, null);
    expect(found.value).toBeCloseTo(12, 9);
    expect(found).toMatchObject({ holds: false, reason: 'off the line at 2' });
  });
});

describe('slower-than-dense', () => {
  test('holds while every interval ends below 1', () => {
    expect(applyTest('slower-than-dense', series(0.9, 0.5), null)).toMatchObject({ holds: true, value: 0.9 });
  });

  test('an interval that reaches 1 breaks it, and says where', () => {
    expect(applyTest('slower-than-dense', series(0.995, 0.5, 1.2), null)).toMatchObject({
      holds: false,
      value: 1.2,
      reason: 'not slower at 1, 4',
    });
  });
});

describe('crossing', () => {
  test('interpolates in the logarithms of both axes', () => {
    // 0.5 at 2, 2 at 4: half-way in log, so at 2 * sqrt(2).
    const found = applyTest('crossing', series(0.25, 0.5, 2, 4), null);
    expect(found.value).toBeCloseTo(2 * Math.SQRT2, 12);
    expect(found.holds).toBeNull();
    // 1 % of a value moves a crossing of factor 4 an octave by log(1.01) / log(4) octaves.
    expect(found.interval?.low).toBeCloseTo(2 * 2 ** (0.5 - Math.log(1.01) / Math.log(4)), 9);
  });

  test('without a crossing there is no number, and it says on which side the series stays', () => {
    expect(applyTest('crossing', series(0.2, 0.4, 0.8), null)).toEqual({
      value: null,
      interval: null,
      holds: false,
      reason: 'the ratio is below 1 from 1 to 4',
    });
    expect(applyTest('crossing', series(3, 2), null).reason).toContain('above 1');
  });
});

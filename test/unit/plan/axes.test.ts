import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { activeCount } from '../../../src/core/cell.js';
import { ConfigError, UsageError } from '../../../src/core/errors.js';
import {
  checkCounts,
  checkDensities,
  MAX_AXIS_VALUES,
  parseDensities,
  parseRange,
} from '../../../src/plan/axes.js';

const batch = { name: '--batch' };
const MAX = 1_048_576;

describe('parseRange', () => {
  it.each([
    ['1', [1]],
    ['1,4,16', [1, 4, 16]],
    ['16, 4 ,1,4', [1, 4, 16]],
    ['1-64*2', [1, 2, 4, 8, 16, 32, 64]],
    ['1-64x2', [1, 2, 4, 8, 16, 32, 64]],
    ['1-64X2', [1, 2, 4, 8, 16, 32, 64]],
    ['3-50*4', [3, 12, 48]],
    ['512-4096+512', [512, 1024, 1536, 2048, 2560, 3072, 3584, 4096]],
    ['1-10+4', [1, 5, 9]],
    ['1k,8k', [1024, 8192]],
    ['1k-8K*2', [1024, 2048, 4096, 8192]],
    ['1k-3k+1k', [1024, 2048, 3072]],
    ['5-5+1', [5]],
    ['1,2-8*2,64', [1, 2, 4, 8, 64]],
    ['1048576', [1_048_576]],
  ])('%s', (text, expected) => {
    expect(parseRange(text, batch, MAX)).toEqual(expected);
  });

  it.each([
    '0',
    '-4',
    '',
    ' ',
    ',',
    '1,,4',
    '8-1',
    '8-1*2',
    '1e9',
    '1000000000',
    '9'.repeat(400),
    '1.5',
    '1-64',
    '1-64*1',
    '1-64*0',
    '1-64+0',
    '0-64*2',
    '1-0+1',
    '1-2000000*2',
    '0k',
    '2000k',
    'k',
    '1m',
    '0x10',
    '1_000',
    'abc',
    'NaN',
    'Infinity',
    '+4',
    '1 4',
    '1-64/2',
    '1-4-8*2',
    '١',
  ])('refuses %j, naming flag and value', (text) => {
    expect(() => parseRange(text, batch, MAX)).toThrow(UsageError);
    expect(() => parseRange(text, batch, MAX)).toThrow(/^Expected .+ for --batch, got ".*"$/);
    expect(() => parseRange(text, batch, MAX)).toThrow(
      expect.objectContaining({ hint: expect.stringMatching(/1-64/) }),
    );
  });

  it('quotes the value that was typed', () => {
    expect(() => parseRange('1e9', batch, MAX)).toThrow('for --batch, got "1e9"');
    expect(() => parseRange('4,8-1', { name: '--seq' }, MAX)).toThrow('for --seq, got "4,8-1"');
  });

  it(`refuses more than ${MAX_AXIS_VALUES} values before it makes them`, () => {
    expect(parseRange('1-10000+1', batch, MAX)).toHaveLength(10_000);
    expect(() => parseRange('1-10001+1', batch, MAX)).toThrow(/^Expected at most 10000 values for --batch/);
    expect(() => parseRange('1-9000+1,9001-18000+1', batch, MAX)).toThrow(/^Expected at most 10000 values/);
    expect(() => parseRange('1-9000000000000000+1', batch, Number.MAX_SAFE_INTEGER)).toThrow(/at most 10000/);
  });

  it('is a ConfigError where the value is of a file', () => {
    const origin = { name: '/batch in s.json', fromFile: true };
    expect(() => parseRange('0', origin, MAX)).toThrow(ConfigError);
    expect(() => parseRange('0', origin, MAX)).toThrow('for /batch in s.json, got "0"');
  });

  it('gives back any list, sorted and distinct', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: MAX }), { minLength: 1, maxLength: 50 }), (values) => {
        const expected = [...new Set(values)].toSorted((a, b) => a - b);
        expect(parseRange(values.join(','), batch, MAX)).toEqual(expected);
      }),
    );
  });

  it('walks any additive and multiplicative range within its ends', () => {
    const end = fc.integer({ min: 1, max: 5000 });
    fc.assert(
      fc.property(end, end, fc.integer({ min: 2, max: 9 }), (a, b, step) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const added = parseRange(`${low}-${high}+${step}`, batch, MAX);
        const scaled = parseRange(`${low}-${high}*${step}`, batch, MAX);
        expect(added).toEqual(added.map((_, i) => low + i * step));
        expect(scaled).toEqual(scaled.map((_, i) => low * step ** i));
        expect(added.at(-1)! + step).toBeGreaterThan(high);
        expect(scaled.at(-1)! * step).toBeGreaterThan(high);
        expect(Math.max(added.at(-1)!, scaled.at(-1)!)).toBeLessThanOrEqual(high);
      }),
    );
  });

  it('answers any text with good values or a UsageError', () => {
    const piece = fc.constantFrom('1', '8', '64', '-', '*', 'x', '+', ',', 'k', '.', 'e', ' ', '0');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const values = valuesOrNone(pieces.join(''));
        expect(values.every((v) => Number.isInteger(v) && v >= 1 && v <= 4096)).toBe(true);
        expect(values).toEqual([...new Set(values)].toSorted((a, b) => a - b));
      }),
      { numRuns: 2000 },
    );
  });
});

/** Empty where the text is refused; any other error goes up. */
function valuesOrNone(text: string): number[] {
  try {
    return parseRange(text, batch, 4096);
  } catch (error) {
    if (error instanceof UsageError) return [];
    throw error;
  }
}

describe('checkCounts', () => {
  it('sorts and removes repeats', () => {
    expect(checkCounts([8, 1, 8], batch, 10)).toEqual([1, 8]);
  });

  it.each([[[0]], [[1.5]], [[11]], [[Number.NaN]], [[]]])('refuses %j', (values) => {
    expect(() => checkCounts(values, batch, 10)).toThrow(UsageError);
  });
});

describe('parseDensities', () => {
  const head = { name: '--head-density' };

  it.each([
    ['0.5', [0.5]],
    ['1', [1]],
    ['1.0', [1]],
    ['.25', [0.25]],
    ['22/72', [22 / 72]],
    ['0.5, 0.1,1/2', [0.1, 0.5]],
    ['5/8,1', [0.625, 1]],
  ])('%s', (text, expected) => {
    expect(parseDensities(text, head)).toEqual(expected);
  });

  it.each([
    '',
    '0',
    '0.0',
    '1.5',
    '-0.5',
    'nan',
    'NaN',
    'Infinity',
    '1/0',
    '0/8',
    '0/0',
    '9/8',
    '1e-1',
    '50%',
    '0.5,',
    '1/2/3',
    'half',
  ])('refuses %j', (text) => {
    expect(() => parseDensities(text, head)).toThrow(UsageError);
    expect(() => parseDensities(text, head)).toThrow(
      /^Expected densities in \(0, 1\] for --head-density, got "/,
    );
  });

  it('meets every fraction of heads exactly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 512 }), fc.integer({ min: 1, max: 512 }), (a, b) => {
        const [active, total] = [Math.min(a, b), Math.max(a, b)];
        expect(activeCount(parseDensities(`${active}/${total}`, head)[0]!, total)).toBe(active);
      }),
    );
  });

  it.each([[[0]], [[1.01]], [[Number.NaN]], [[]]])('checks numbers too: %j', (values) => {
    expect(() => checkDensities(values, head)).toThrow(UsageError);
  });
});

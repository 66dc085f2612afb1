import { describe, expect, test } from 'vitest';

import { listOf, numberFlag, oneOf, parseShard } from '../../../src/cli/flags.js';
import { UsageError } from '../../../src/core/errors.js';

describe('numberFlag', () => {
  const limits = { min: 0, max: 10 };

  test('takes decimal numbers within the limits', () => {
    expect(numberFlag('x', limits, '0')).toBe(0);
    expect(numberFlag('x', limits, '2.5')).toBe(2.5);
    expect(numberFlag('x', limits, '1e1')).toBe(10);
  });

  test.each(['', ' ', 'nan', 'Infinity', '0x5', '11', '-1', '1,2', '5 s'])('refuses %j', (text) => {
    expect(() => numberFlag('x', limits, text)).toThrow(UsageError);
  });

  test('integers and exclusive minima', () => {
    expect(() => numberFlag('x', { ...limits, integer: true }, '2.5')).toThrow(
      /an integer from 0 to 10 for --x/,
    );
    expect(() => numberFlag('x', { ...limits, exclusiveMin: true }, '0')).toThrow(/above 0/);
  });
});

describe('words', () => {
  test('a near miss names the right word', () => {
    expect(oneOf('dtype', ['bf16', 'fp16'] as const, 'bf16')).toBe('bf16');
    const wrong = (): string => oneOf('format', ['table', 'csv'] as const, 'tabel');
    expect(wrong).toThrow('Expected one of table, csv for --format, got "tabel"');
    try {
      wrong();
    } catch (error) {
      expect((error as UsageError).hint).toBe('Did you mean table?');
    }
  });

  test('lists are split, trimmed and distinct', () => {
    expect(listOf('scope', ['a', 'b'] as const, 'b, a,b')).toEqual(['b', 'a']);
    expect(() => listOf('scope', ['a', 'b'] as const, 'a,,b')).toThrow(UsageError);
  });
});

describe('parseShard', () => {
  test('1/1 and 2/3', () => {
    expect(parseShard('1/1')).toEqual({ index: 1, count: 1 });
    expect(parseShard('2/3')).toEqual({ index: 2, count: 3 });
  });

  test.each(['3/2', '0/2', '1', '1/0', '1/2/3', '-1/2', '1.5/2', 'a/b', ''])('refuses %j', (text) => {
    expect(() => parseShard(text)).toThrow(/I\/N with 1 <= I <= N for --shard/);
  });
});

import { describe, expect, it } from 'vitest';
import {
  ceilingsSpread,
  ceilingsWarnings,
  knownCeilings,
  storedCeilings,
} from '../../../src/cli/instrument.js';
import type { EnvironmentFile } from '../../../src/sinks/environment-file.js';
import type { Ceilings } from '../../../src/core/environment.js';

const ceilings = (readGbPerS: number, matrixTflopPerS: number): Ceilings => ({
  readGbPerS,
  matrixTflopPerS,
  details: {},
});

describe('ceilings that are measured more than once', () => {
  it('are apart by the share that the least has lost', () => {
    expect(ceilingsSpread([ceilings(10, 2)])).toBeNull();
    expect(ceilingsSpread([ceilings(10, 2), ceilings(8, 2)])).toEqual({
      readGbPerS: 1 - 8 / 10,
      matrixTflopPerS: 0,
    });
    expect(ceilingsSpread([ceilings(9, 1), ceilings(10, 2), ceilings(8, 2)])?.matrixTflopPerS).toBe(0.5);
  });

  it('warn from 20 % on, whichever way the machine went, and name the values in their order', () => {
    expect(ceilingsWarnings([ceilings(10, 2), ceilings(8.01, 1.7)])).toEqual([]);
    expect(ceilingsWarnings([ceilings(10, 2), ceilings(7.5, 2)])).toEqual([
      expect.stringMatching(/^the read ceiling was 10\.0, then 7\.50 GB\/s, 25 % apart/),
    ]);
    expect(ceilingsWarnings([ceilings(10, 1), ceilings(20, 2)])).toEqual([
      expect.stringMatching(/^the read ceiling was 10\.0, then 20\.0 GB\/s, 50 % apart/),
      expect.stringMatching(/^the matrix ceiling was 1\.00, then 2\.00 TFLOP\/s, 50 % apart/),
    ]);
  });
});

describe('ceilings of env.json', () => {
  it('are taken where they can be', () => {
    const details = { read_gb_per_s: 12, matrix_tflop_per_s: 0.3, read_pattern: 'x' };
    expect(storedCeilings(details)).toEqual({ readGbPerS: 12, matrixTflopPerS: 0.3, details });
  });

  it('are those before, of every part that was resumed, and after, as far as they are there', () => {
    const at = (read: number) => ({ read_gb_per_s: read, matrix_tflop_per_s: 1 });
    const environment = {
      ceilings: at(10),
      resumed: [{ ceilings: at(12) }, { ceilings: {} }],
      ceilings_after: at(11),
    };
    const reads = (e: object) => knownCeilings(e as EnvironmentFile).map((c) => c.readGbPerS);
    expect(reads(environment)).toEqual([10, 12, 11]);
    expect(reads({ ceilings: at(10), ceilings_after: null })).toEqual([10]);
    expect(knownCeilings(null)).toEqual([]);
  });

  it.each([0, -1, Number.NaN, 1e-300, '12', null])('are measured again where the file says %s', (value) => {
    expect(storedCeilings({ read_gb_per_s: value, matrix_tflop_per_s: 0.3 })).toBeNull();
    expect(storedCeilings({ read_gb_per_s: 12, matrix_tflop_per_s: value })).toBeNull();
    expect(storedCeilings(null)).toBeNull();
  });
});

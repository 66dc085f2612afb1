import { describe, expect, test } from 'vitest';

import type { NativeCandidateResult } from '../../../src/backends/native/addon.js';
import { ceilings, cellOutcome, deviceFacts } from '../../../src/backends/native/result.js';
import { InternalError } from '../../../src/core/errors.js';

const verification = {
  passed: true,
  maxAbsErr: 0.01,
  maxRelErr: 0.001,
  toleranceUsed: 0.3,
  rowsChecked: 16,
  rowsFailed: 0,
  worstRow: 3,
  repeatsEqual: true,
};

function native(overrides: Partial<NativeCandidateResult> = {}): NativeCandidateResult {
  return {
    status: 0,
    code: '',
    reason: '',
    verification,
    timing: {
      runsPerSample: 4,
      rotationCopies: 9,
      rotationBytes: 1e9,
      samplesDiscarded: 1,
      energyMj: null,
      setupS: 0.1,
      residentLayers: 0,
    },
    rounds: Int32Array.of(0, 2),
    samplesNs: Float64Array.of(100, 102),
    clockMhz: Float64Array.of(Number.NaN, 1980),
    parts: [],
    warnings: [],
    ...overrides,
  };
}

const of = (candidates: NativeCandidateResult[]) =>
  cellOutcome({ candidates, stop: 1, warnings: ['w'], facts: {} });

describe('cellOutcome', () => {
  test('a round without a sample is null, for every candidate the same index is the same round', () => {
    const outcome = of([
      native(),
      native({ rounds: Int32Array.of(0, 1, 2), samplesNs: Float64Array.of(1, 2, 3) }),
    ]);
    expect(outcome.stop).toBe('max-time');
    expect(outcome.candidates[0]).toMatchObject({
      status: 'ok',
      samplesNs: [100, null, 102],
      clockMhz: [null, null, 1980],
      runsPerSample: 4,
      energyMj: null,
      residentLayers: null,
      parts: null,
    });
    expect(outcome.candidates[1]).toMatchObject({ samplesNs: [1, 2, 3] });
  });

  test('a step says how many layers it cycles through, and its parts where they were asked for', () => {
    const timing = native().timing;
    const parts = [{ name: 'attention', ns: 40 }];
    const outcome = of([
      native({ timing: timing === null ? null : { ...timing, residentLayers: 48 }, parts }),
    ]);
    expect(outcome.candidates[0]).toMatchObject({ residentLayers: 48, parts });
  });

  test('failed, skipped and incorrect keep their reasons and have no samples', () => {
    const outcome = of([
      native({ status: 2, code: 'E_CUDA', reason: 'lost' }),
      native({ status: 3, reason: 'needs 9 GB' }),
      native({ status: 1, reason: 'rows differ' }),
    ]);
    expect(outcome.candidates[0]).toEqual({ status: 'failed', code: 'E_CUDA', reason: 'lost', warnings: [] });
    expect(outcome.candidates[1]).toEqual({
      status: 'skipped',
      code: null,
      reason: 'needs 9 GB',
      warnings: [],
    });
    expect(outcome.candidates[2]).toEqual({
      status: 'incorrect',
      reason: 'rows differ',
      verification,
      warnings: [],
    });
  });

  test('a candidate that never ended, or was ok unverified, is a bug and not a result', () => {
    expect(() => of([native({ status: -1 })])).toThrow(InternalError);
    expect(() => of([native({ verification: null })])).toThrow(InternalError);
  });
});

describe('facts', () => {
  const facts = {
    name: 'CPU',
    last_level_cache_bytes: 1,
    total_memory_bytes: 2,
    free_memory_bytes: 3,
    sm_count: null,
  };

  test('unknown facts are left out, a missing driver is null', () => {
    const device = deviceFacts('cpu', 0, facts);
    expect(device.driverVersion).toBeNull();
    expect(device.details).not.toHaveProperty('sm_count');
  });

  test('a ceiling that is missing is an error, not a 0', () => {
    expect(() => ceilings({ read_gb_per_s: 20 })).toThrow(/matrix_tflop_per_s/);
  });
});

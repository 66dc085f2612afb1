import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import type { CandidateOutcome } from '../../../src/core/outcome.js';
import type { Row } from '../../../src/core/row.js';
import type { CandidateSummary } from '../../../src/core/summary.js';
import { checkRow } from '../../../src/report/check-row.js';
import { COLUMN_HEADERS } from '../../../src/report/columns.js';
import { buildRows, type BuildRowsInput } from '../../../src/report/row.js';
import {
  attentionCell,
  cellOf,
  failed,
  incorrect,
  okOutcome,
  outcomeOf,
  SHAPE,
  skipped,
} from './measured-cell.js';

const KERNELS = ['attention/dense', 'attention/selective-head'];
const cell = attentionCell(KERNELS);

const DENSE: CandidateSummary = {
  latency: { numSamples: 3, medianNs: 4_000, ci: { low: 3_900, high: 4_100 }, q1Ns: 3_950, q3Ns: 4_050 },
  speedup: { ratio: 1, ci: { low: 1, high: 1 } },
  baselineKernel: 'attention/dense',
  medianClockMhz: null,
};
const SPARSE: CandidateSummary = {
  latency: { numSamples: 3, medianNs: 2_000, ci: { low: 1_900, high: 2_100 }, q1Ns: 1_950, q3Ns: 2_050 },
  speedup: { ratio: 1.98, ci: { low: 1.9, high: 2.05 } },
  baselineKernel: 'attention/dense',
  medianClockMhz: 1_980,
};

function inputOf(
  candidates: readonly CandidateOutcome[],
  more: Partial<BuildRowsInput> = {},
): BuildRowsInput {
  return {
    cell,
    outcome: outcomeOf(candidates),
    summaries: [DENSE, SPARSE],
    traffic: [
      { bytes: 80_000, flops: 400_000 },
      { bytes: 40_000, flops: 200_000 },
    ],
    bounds: [{ boundUs: 3 }, { boundUs: 1.5 }],
    run: { runId: 'r1', timestamp: '2025-01-01T00:00:00Z', deviceName: 'test device', driverVersion: null },
    reproCommand: (c, candidate) => `measure ${c.batchSize} ${candidate.kernel}`,
    ...more,
  };
}

const measured = [okOutcome([4_000, 4_000, 4_000]), okOutcome([2_000, null, 2_000], { energyMj: 7 })];

function rowAt(index: number, input: BuildRowsInput): Row {
  const row = buildRows(input)[index];
  if (row === undefined) throw new Error(`no row ${index}`);
  return row;
}

describe('buildRows', () => {
  it('fills every column of an ok row from hand-computed numbers', () => {
    expect(rowAt(1, inputOf(measured))).toEqual({
      schema_version: 1,
      run_id: 'r1',
      timestamp: '2025-01-01T00:00:00Z',
      model: 'test-shape',
      backend: 'cpu',
      device: 'test device',
      driver_version: null,
      dtype: 'bf16',
      cache_mode: 'cold',
      scope: 'attention',
      variant: 'head-sparse',
      kernel: 'attention/selective-head',
      batch_size: 2,
      kv_len: 128,
      head_density: 0.5,
      active_heads: 4,
      mlp_density: null,
      active_neurons: null,
      density_source: 'flag',
      resident_layers: null,
      n_samples: 3,
      latency_us_median: 2,
      latency_us_ci_low: 1.9,
      latency_us_ci_high: 2.1,
      latency_us_q1: 1.95,
      latency_us_q3: 2.05,
      tokens_per_s: null,
      bytes_moved: 40_000,
      flops: 200_000,
      // 40 kB in 2 us = 20 GB/s; 200 kFLOP in 2 us = 0.1 TFLOP/s; 1.5 us of 2 us = 75 %
      achieved_gb_per_s: expect.closeTo(20, 10),
      achieved_tflop_per_s: expect.closeTo(0.1, 12),
      bound_us: 1.5,
      pct_of_bound: 75,
      baseline_kernel: 'attention/dense',
      speedup: 1.98,
      speedup_ci_low: 1.9,
      speedup_ci_high: 2.05,
      max_rel_err: 0.002,
      sm_clock_mhz: 1_980,
      samples_discarded: 1,
      energy_mj: 7,
      status: 'ok',
      reason: null,
      warnings: null,
      repro_command: 'measure 2 attention/selective-head',
    });
  });

  it('has the columns of docs/columns.md and no others', () => {
    expect(Object.keys(rowAt(0, inputOf(measured))).toSorted()).toEqual(COLUMN_HEADERS.toSorted());
  });

  it('gives MLP candidates neurons and a density of neurons', () => {
    const kernel = 'mlp/selective';
    const mlp = cellOf({
      ...cell,
      scope: 'mlp',
      kvLen: null,
      candidates: [
        {
          kernel,
          variant: 'mlp-sparse',
          activeHeads: null,
          activeNeurons: 24,
          layerActiveNeurons: null,
          densitySource: 'flag',
        },
      ],
    });
    const row = rowAt(0, {
      ...inputOf([okOutcome([2_000])]),
      cell: mlp,
      summaries: [{ ...SPARSE, speedup: null, baselineKernel: null }],
      traffic: [{ bytes: 1, flops: 1 }],
      bounds: [{ boundUs: 1 }],
    });
    expect(row).toMatchObject({ kv_len: null, head_density: null, active_heads: null, active_neurons: 24 });
    expect(row.mlp_density).toBe(24 / SHAPE.intermediateSize);
    expect(row).toMatchObject({ speedup: null, baseline_kernel: null, warnings: null, status: 'ok' });
  });

  it.each([
    ['incorrect', incorrect(0.5), 0.5, '16 of 16 rows beyond the tolerance'],
    ['incorrect', incorrect(Number.NaN), null, '16 of 16 rows beyond the tolerance'],
    ['failed', failed(), null, 'E_CRASHED: signal SIGSEGV'],
    ['skipped', skipped(), null, 'needs 20 bytes, 10 are free'],
  ] as const)(
    'a row that is %s has no latency, even if someone summarized it',
    (status, outcome, error, reason) => {
      const row = rowAt(1, inputOf([okOutcome([4_000]), outcome]));
      const { latency_us_median, latency_us_ci_low, n_samples, speedup, achieved_gb_per_s, pct_of_bound } =
        row;
      expect([
        latency_us_median,
        latency_us_ci_low,
        n_samples,
        speedup,
        achieved_gb_per_s,
        pct_of_bound,
      ]).toEqual(Array.from({ length: 6 }, () => null));
      expect(row).toMatchObject({ status, reason, max_rel_err: error, bytes_moved: 40_000, bound_us: 1.5 });
      expect(row).toMatchObject({ samples_discarded: null, energy_mj: null });
    },
  );

  it('turns an ok candidate that lost every sample into a failed row', () => {
    const row = rowAt(
      1,
      inputOf([okOutcome([4_000]), okOutcome([null, null])], { summaries: [DENSE, null] }),
    );
    expect(row).toMatchObject({
      status: 'failed',
      reason: 'all 2 samples were discarded',
      latency_us_median: null,
    });
    expect(row).toMatchObject({ max_rel_err: 0.002, samples_discarded: 2 });
  });

  it('joins warnings of cell, candidate and caller, each once', () => {
    const input = inputOf([okOutcome([1], { warnings: ['own', 'shared'] }), okOutcome([1])], {
      extraWarnings: ['extra', null],
      summaries: [DENSE, { ...SPARSE, speedup: null }],
    });
    const rows = buildRows({ ...input, outcome: { ...input.outcome, warnings: ['shared'] } });
    expect(rows[0]?.warnings).toBe('shared; own; extra');
    expect(rows[1]?.warnings).toBe('shared; no sampling round in common with attention/dense');
  });

  it.each([
    [
      'no latency',
      { summaries: [DENSE, null] },
      /ok row for n_samples of attention\/selective-head, batch_size 2/,
    ],
    ['no bound', { bounds: [{ boundUs: 3 }, null] }, /for bound_us/],
    [
      'a bound that is not finite',
      { bounds: [{ boundUs: 3 }, { boundUs: Infinity }] },
      /finite number for bound_us/,
    ],
    ['half a byte', { traffic: [null, { bytes: 0.5, flops: 1 }] }, /an integer for bytes_moved/],
    ['too few bounds', { bounds: [{ boundUs: 3 }] }, /Expected 2 entries for bounds/],
    ['too many warnings', { extraWarnings: [null, null, null] }, /Expected 2 entries for extraWarnings/],
  ] as const)('refuses an ok row with %s', (_what, more, message) => {
    const build = (): Row[] => buildRows(inputOf(measured, more));
    expect(build).toThrow(InternalError);
    expect(build).toThrow(message);
  });

  it('refuses an ok row whose error norm is not a number, and an outcome of another cell', () => {
    const nan = okOutcome([1]);
    const bad = { ...nan, verification: { ...nan.verification, maxRelErr: Number.NaN } };
    expect(() => buildRows(inputOf([bad, okOutcome([1])]))).toThrow(/finite number for max_rel_err/);
    expect(() => buildRows(inputOf([okOutcome([1])]))).toThrow(/Expected 2 candidates for the outcome/);
    expect(() => buildRows(inputOf([...measured, failed()]))).toThrow(/got 3/);
  });
});

describe('checkRow', () => {
  const row = rowAt(1, inputOf(measured));

  it('returns the row itself', () => {
    expect(checkRow(row)).toBe(row);
  });

  it.each(['backend', 'dtype', 'cache_mode', 'scope', 'variant', 'status'])(
    'refuses another word for %s',
    (header) => {
      // Rows also come from files, where the compiler has not looked.
      expect(() => checkRow({ ...row, [header]: 'other' })).toThrow(
        new RegExp(`Expected one of .* for ${header} .*"other"`),
      );
    },
  );

  it('refuses a latency or a missing reason on a row that is not ok', () => {
    expect(() => checkRow({ ...row, status: 'failed', reason: 'r' })).toThrow(
      /Expected null on a row that is failed for latency_us_median/,
    );
    const skippedRow = rowAt(1, inputOf([okOutcome([4_000]), skipped()]));
    expect(() => checkRow({ ...skippedRow, reason: null })).toThrow(/Expected a reason/);
  });
});

import { describe, expect, it } from 'vitest';
import type { Row } from '../../../src/core/row.js';
import { TableSink } from '../../../src/sinks/table.js';
import { baselineRow, failedRow, mlpRow, sparseRow } from './sample-rows.js';

function table(rows: readonly Row[], colour = false): string {
  let text = '';
  const sink = new TableSink({ write: (piece) => void (text += piece) }, { colour });
  for (const row of rows) sink.row(row);
  sink.finish();
  return text;
}

describe('TableSink', () => {
  it('groups by scope, scales latency and marks the baseline', () => {
    expect(table([baselineRow, sparseRow, failedRow, mlpRow]).split('\n')).toEqual([
      'llama-3-8b, attention, bf16, cold cache, cpu (Test CPU)',
      'batch  kv_len  variant      kernel          density        latency  GB/s  % bound  speedup (95 %)   status',
      '   16    2048  dense        dense                 1  1.23 ms ±0.5%  27.2       89  baseline         ok',
      '   16    2048  head-sparse  selective-head    0.625   780 us ±0.5%  27.2       89  1.58x 1.57-1.60  ok',
      '   16    2048  head-sparse  selective-head    0.625              -     -        -  -                failed',
      '  batch 16, kv_len 2048, selective-head: failed: E_CRASHED: signal SIGSEGV',
      '  1 of 3 rows ended by --max-time above the noise goal (a longer one narrows the intervals)',
      '',
      'llama-3-8b, mlp, bf16, cold cache, cpu (Test CPU)',
      'batch  kv_len  variant     kernel     density        latency  GB/s  % bound  speedup (95 %)  status',
      '   16       -  mlp-sparse  selective    0.333  1.23 ms ±0.5%  27.2       89  -               ok',
      '',
    ]);
  });

  it('fits into 120 columns at the widest', () => {
    const wide: Row = {
      ...sparseRow,
      kernel: 'attention/dense-per-query-head',
      batch_size: 65_536,
      kv_len: 131_072,
      latency_us_median: 999_444,
      latency_us_ci_low: 900_000,
      achieved_gb_per_s: 4_700.4,
      pct_of_bound: 104,
      speedup: 12.34,
      speedup_ci_low: 12.29,
      speedup_ci_high: 12.41,
      warnings: null,
    };
    const rows = [wide, { ...failedRow, status: 'incorrect' as const, reason: 'r' }];
    const lines = table(rows).split('\n');
    expect(lines[2]).toContain('999 ms ±9.9%');
    expect(lines[2]).toContain('12.3x 12.3-12.4');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(120);
  });

  it('quotes a step by its tokens per second, within 120 columns', () => {
    const polar: Row = {
      ...sparseRow,
      scope: 'step',
      variant: 'polar',
      kernel: 'step/polar',
      batch_size: 512,
      kv_len: 131_072,
      mlp_density: 0.49,
      head_density: 21 / 72,
      latency_us_median: 131_072,
      latency_us_ci_low: 131_000,
      latency_us_ci_high: 131_100,
      tokens_per_s: 98_765.4,
      baseline_kernel: 'step/dense',
      speedup: 12.34,
      speedup_ci_low: 12.29,
      speedup_ci_high: 12.41,
      warnings: 'single-device sum over 64 layers, 40 resident layers cycled',
    };
    const lines = table([polar]).split('\n');
    expect(lines[1]).toMatch(
      /^batch +kv_len +variant +kernel +density +latency +tokens\/s +% bound +speedup/,
    );
    expect(lines[2]).toMatch(
      /polar +polar +0\.292\/0\.49 +131 ms ±0\.1% +98765 +89 +12\.3x 12\.3-12\.4 +ok$/,
    );
    expect(lines[3]).toContain('single-device sum over 64 layers, 40 resident layers cycled');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(120);
  });

  it('keeps columns aligned under colour, which it uses only when told', () => {
    const plain = table([baselineRow, sparseRow, failedRow]);
    const coloured = table([baselineRow, sparseRow, failedRow], true);
    expect(coloured).toContain('\u001b[32m1.58x 1.57-1.60');
    expect(coloured).toContain('\u001b[31mfailed');
    // oxlint-disable-next-line no-control-regex
    const stripped = coloured.replace(/\u001b\[\d+m/g, '').replace(/ +$/gm, '');
    expect(stripped).toBe(plain);
  });

  it('says a text that several rows share once', () => {
    const text = table([failedRow, { ...failedRow, batch_size: 32 }, { ...failedRow, batch_size: 64 }]);
    expect(text).toContain('batch 16, kv_len 2048, selective-head (and 2 more): failed: E_CRASHED');
    expect(text.match(/SIGSEGV/g)).toHaveLength(1);
  });

  it('prints nothing without rows', () => {
    expect(table([])).toBe('');
  });
});

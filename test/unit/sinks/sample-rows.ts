import type { Row } from '../../../src/core/row.js';
import { checkRow } from '../../../src/report/check-row.js';

const BASELINE: Row = {
  schema_version: 1,
  run_id: 'run-1',
  timestamp: '2025-01-01T00:00:00.000Z',
  model: 'llama-3-8b',
  backend: 'cpu',
  device: 'Test CPU',
  driver_version: null,
  dtype: 'bf16',
  cache_mode: 'cold',
  scope: 'attention',
  variant: 'dense',
  kernel: 'attention/dense',
  batch_size: 16,
  kv_len: 2048,
  head_density: 1,
  active_heads: 32,
  mlp_density: null,
  active_neurons: null,
  density_source: 'dense',
  resident_layers: null,
  n_samples: 20,
  latency_us_median: 1_234.5678901234567,
  latency_us_ci_low: 1_230.1,
  latency_us_ci_high: 1_240.7,
  latency_us_q1: 1_229,
  latency_us_q3: 1_241,
  tokens_per_s: null,
  bytes_moved: 33_554_432,
  flops: 134_217_728,
  achieved_gb_per_s: 27.18,
  achieved_tflop_per_s: 0.1 + 0.2,
  bound_us: 1_100,
  pct_of_bound: 89.1,
  baseline_kernel: 'attention/dense',
  speedup: 1,
  speedup_ci_low: 1,
  speedup_ci_high: 1,
  max_rel_err: 1e-7,
  sm_clock_mhz: null,
  samples_discarded: 0,
  energy_mj: null,
  status: 'ok',
  reason: null,
  warnings: null,
  repro_command: 'polar-bench sweep --model llama-3-8b --batch 16 --seq 2048',
};

export const baselineRow = BASELINE;

export const sparseRow: Row = checkRow({
  ...BASELINE,
  variant: 'head-sparse',
  kernel: 'attention/selective-head',
  head_density: 0.625,
  active_heads: 20,
  density_source: 'flag',
  latency_us_median: 780.25,
  latency_us_ci_low: 776,
  latency_us_ci_high: 783,
  speedup: 1.584,
  speedup_ci_low: 1.5701,
  speedup_ci_high: 1.6,
  warnings: 'stopped by --max-time after 20 samples: noise 1 %, above the goal of 0.5 %',
});

/** A row without any of the numbers that only `ok` has. */
export function unmeasuredRow(
  status: 'incorrect' | 'failed' | 'skipped',
  reason: string,
  more: Partial<Row> = {},
): Row {
  const none = Object.fromEntries(
    Object.keys(BASELINE)
      .filter((key) => /^(latency|speedup|achieved|pct|n_samples|max_rel|samples|baseline)/.test(key))
      .map((key) => [key, null]),
  ) as Partial<Row>;
  return checkRow({ ...sparseRow, warnings: null, ...none, status, reason, ...more });
}

export const incorrectRow = unmeasuredRow('incorrect', '16 of 64 rows beyond the tolerance', {
  max_rel_err: 0.51,
});
export const failedRow = unmeasuredRow('failed', 'E_CRASHED: signal SIGSEGV');
export const skippedRow = unmeasuredRow('skipped', 'needs 20 bytes, 10 are free', {
  bytes_moved: null,
  flops: null,
  bound_us: null,
});

export const mlpRow: Row = checkRow({
  ...BASELINE,
  scope: 'mlp',
  kernel: 'mlp/selective',
  variant: 'mlp-sparse',
  kv_len: null,
  head_density: null,
  active_heads: null,
  mlp_density: 1 / 3,
  active_neurons: 4_778,
  baseline_kernel: null,
  speedup: null,
  speedup_ci_low: null,
  speedup_ci_high: null,
});

/** Text that a model file or a driver could contain. */
export const HOSTILE = {
  commas: 'a,b, "quoted" and ""double""',
  newlines: 'first\nsecond\r\nthird\rfourth',
  escapes: '\u001b[2J\u001b]0;title\u0007 \u009b31m \u007f',
  bidi: 'safe\u202egnp.exe',
  nonAscii: 'Größe 模型 µ ± 👩‍🔬',
  formula: '=HYPERLINK("x")',
  markdown: '| cell | `code` **bold** [link](x) <b> \\',
} as const;

export const hostileRows: readonly Row[] = Object.values(HOSTILE).flatMap((text) => [
  checkRow({ ...BASELINE, model: text, device: text, warnings: text, driver_version: text }),
  unmeasuredRow('failed', text, { model: text }),
]);

export const ALL_ROWS: readonly Row[] = [
  BASELINE,
  sparseRow,
  incorrectRow,
  failedRow,
  skippedRow,
  mlpRow,
  ...hostileRows,
];

import type { BackendName, CacheMode, Dtype, Scope, Variant } from './cell.js';
import type { Status } from './outcome.js';

/** One line of rows.csv; docs/columns.md describes each column. null = not available. */
export interface Row {
  schema_version: number;
  run_id: string;
  timestamp: string;
  model: string;
  backend: BackendName;
  device: string;
  driver_version: string | null;
  dtype: Dtype;
  cache_mode: CacheMode;
  scope: Scope;
  variant: Variant;
  kernel: string;
  batch_size: number;
  kv_len: number | null;
  head_density: number | null;
  active_heads: number | null;
  mlp_density: number | null;
  active_neurons: number | null;
  density_source: string;
  resident_layers: number | null;
  n_samples: number | null;
  latency_us_median: number | null;
  latency_us_ci_low: number | null;
  latency_us_ci_high: number | null;
  latency_us_q1: number | null;
  latency_us_q3: number | null;
  tokens_per_s: number | null;
  bytes_moved: number | null;
  flops: number | null;
  achieved_gb_per_s: number | null;
  achieved_tflop_per_s: number | null;
  bound_us: number | null;
  pct_of_bound: number | null;
  baseline_kernel: string | null;
  speedup: number | null;
  speedup_ci_low: number | null;
  speedup_ci_high: number | null;
  max_rel_err: number | null;
  sm_clock_mhz: number | null;
  samples_discarded: number | null;
  energy_mj: number | null;
  status: Status;
  reason: string | null;
  warnings: string | null;
  repro_command: string;
}

export const ROW_SCHEMA_VERSION = 1;

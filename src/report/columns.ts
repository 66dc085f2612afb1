import type { Row } from '../core/row.js';

export type ColumnType = 'integer' | 'number' | 'text';

/** One column of rows.csv, declared here and nowhere else. */
export interface Column {
  readonly header: keyof Row;
  /** What a value counts; null for text and for pure counts and ratios */
  readonly unit: string | null;
  readonly type: ColumnType;
  /** Whether the cell may be empty: "not available" */
  readonly nullable: boolean;
  readonly description: string;
}

type Declaration = readonly [
  type: ColumnType,
  presence: 'always' | 'optional',
  unit: string | null,
  description: string,
];

/** In the order of the file. The type makes a missing or unknown column a compile error. */
const DECLARED = {
  schema_version: ['integer', 'always', null, 'Version of this list of columns.'],
  run_id: ['text', 'always', null, 'Identifies the run; every row of one run carries the same one.'],
  timestamp: ['text', 'always', null, 'When the cell was measured, ISO 8601 in UTC.'],
  model: ['text', 'always', null, 'Name of the model shape, as given.'],
  backend: ['text', 'always', null, '`cpu` or `cuda`.'],
  device: ['text', 'always', null, 'Name of the device, as it calls itself.'],
  driver_version: ['text', 'optional', null, 'Version of the GPU driver; empty on the CPU.'],
  dtype: ['text', 'always', null, 'Storage type of every tensor, `bf16` or `fp16`; accumulation is float32.'],
  cache_mode: [
    'text',
    'always',
    null,
    '`cold`: runs rotate over copies larger than the last-level cache; `hot`: one copy.',
  ],
  scope: [
    'text',
    'always',
    null,
    'What is measured: `attention`, `mlp`, `mlp-up`, `mlp-down`, `router`, `layer` or `step` (docs/methodology.md).',
  ],
  variant: ['text', 'always', null, '`dense`, `mlp-sparse`, `head-sparse` or `polar`.'],
  kernel: ['text', 'always', null, 'Kernel id, such as `attention/selective-head`.'],
  batch_size: ['integer', 'always', 'sequences', 'B, sequences decoded together.'],
  kv_len: [
    'integer',
    'optional',
    'positions',
    'N, positions in the KV cache, in `layer` and `step` with the new token; empty in scopes without one.',
  ],
  head_density: ['number', 'optional', 'fraction', '`active_heads` over all query heads, in (0, 1].'],
  active_heads: [
    'integer',
    'optional',
    'heads',
    'Query heads computed per sequence; dense: all. `step`: from layer 1 on, layer 0 computes all.',
  ],
  mlp_density: ['number', 'optional', 'fraction', '`active_neurons` over all neurons of one MLP, in (0, 1].'],
  active_neurons: [
    'integer',
    'optional',
    'neurons',
    'Neurons computed for the whole batch; dense: all. `step`: mean over layers, rounded; plan.json has each layer.',
  ],
  density_source: [
    'text',
    'always',
    null,
    'Where the density came from: `dense`, `flag`, `default`, `critical:...`, `model:...`, `published:...`, `topk:...`; of heads and of neurons where both are chosen.',
  ],
  resident_layers: [
    'integer',
    'optional',
    'layers',
    'Distinct layers (weights and KV) that runs cycle through; scopes `layer` and `step` only.',
  ],
  n_samples: ['integer', 'optional', 'samples', 'Samples kept, one per sampling round.'],
  latency_us_median: ['number', 'optional', 'us', 'Median time of one run.'],
  latency_us_ci_low: ['number', 'optional', 'us', 'Lower end of the 95 % bootstrap interval of the median.'],
  latency_us_ci_high: ['number', 'optional', 'us', 'Upper end of that interval.'],
  latency_us_q1: ['number', 'optional', 'us', 'First quartile of the samples.'],
  latency_us_q3: ['number', 'optional', 'us', 'Third quartile of the samples.'],
  tokens_per_s: [
    'number',
    'optional',
    'tokens/s',
    '`batch_size` over latency; scope `step` only, the others produce no token.',
  ],
  bytes_moved: [
    'integer',
    'optional',
    'bytes',
    'Counted, not measured: each input that the kernel needs read once and each output written once.',
  ],
  flops: ['integer', 'optional', 'operations', 'Counted floating-point operations of one run.'],
  achieved_gb_per_s: ['number', 'optional', '10^9 bytes/s', '`bytes_moved` over median latency.'],
  achieved_tflop_per_s: ['number', 'optional', '10^12 operations/s', '`flops` over median latency.'],
  bound_us: [
    'number',
    'optional',
    'us',
    'Shortest possible time: the larger of bytes over the read ceiling and operations over the matrix ceiling, both measured on this machine.',
  ],
  pct_of_bound: [
    'number',
    'optional',
    '%',
    '`bound_us` over median latency: 100 is the limit of the machine.',
  ],
  baseline_kernel: [
    'text',
    'optional',
    null,
    'Dense kernel with the lowest median of the cell; empty without one that is ok, and in scope `router`.',
  ],
  speedup: [
    'number',
    'optional',
    'ratio',
    'Median over sampling rounds of baseline time over the time of this kernel; exactly 1 for the baseline.',
  ],
  speedup_ci_low: [
    'number',
    'optional',
    'ratio',
    'Lower end of the 95 % interval over rounds (order statistics).',
  ],
  speedup_ci_high: ['number', 'optional', 'ratio', 'Upper end of that interval.'],
  max_rel_err: [
    'number',
    'optional',
    'ratio',
    'Largest error over largest reference value, from the check before timing; empty where that is not a number.',
  ],
  sm_clock_mhz: ['number', 'optional', 'MHz', 'Median SM clock over the samples; empty where there is none.'],
  samples_discarded: [
    'integer',
    'optional',
    'samples',
    'Samples thrown away because the device was throttled.',
  ],
  energy_mj: ['number', 'optional', 'mJ', 'Energy of one run; empty where the device has no counter.'],
  status: [
    'text',
    'always',
    null,
    '`ok`, `incorrect` (failed the check), `failed` (broke) or `skipped` (never tried). Only `ok` has a latency.',
  ],
  reason: ['text', 'optional', null, 'Why the status is not `ok`.'],
  warnings: ['text', 'optional', null, 'What to know before quoting the row, joined by `; `.'],
  repro_command: ['text', 'always', null, 'Command that measures this cell again.'],
} as const satisfies Record<keyof Row, Declaration>;

function toColumn([header, declaration]: [string, Declaration]): Column {
  const [type, presence, unit, description] = declaration;
  // Object.entries forgets the key type; DECLARED has exactly the keys of Row.
  return { header: header as keyof Row, type, nullable: presence === 'optional', unit, description };
}

/** Every column of rows.csv, in the order of the file. */
export const COLUMNS: readonly Column[] = Object.entries<Declaration>(DECLARED).map(toColumn);

export const COLUMN_HEADERS: readonly (keyof Row)[] = COLUMNS.map((column) => column.header);

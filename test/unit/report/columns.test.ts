import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COLUMNS, COLUMN_HEADERS } from '../../../src/report/columns.js';
import { columnsDocument } from '../../../src/report/columns-document.js';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

/** The published order; changing it breaks every reader by position and needs a new schema version. */
const PUBLISHED =
  `schema_version run_id timestamp model backend device driver_version dtype cache_mode scope variant
  kernel batch_size kv_len head_density active_heads mlp_density active_neurons density_source resident_layers n_samples
  latency_us_median latency_us_ci_low latency_us_ci_high latency_us_q1 latency_us_q3 tokens_per_s bytes_moved flops
  achieved_gb_per_s achieved_tflop_per_s bound_us pct_of_bound baseline_kernel speedup speedup_ci_low speedup_ci_high
  max_rel_err sm_clock_mhz samples_discarded energy_mj status reason warnings repro_command`.split(/\s+/);

describe('COLUMNS', () => {
  it('has the published headers in the published order', () => {
    expect(COLUMN_HEADERS).toEqual(PUBLISHED);
  });

  it('has the fields of Row in its order, nullable where they are', () => {
    const body = read('src/core/row.ts').split('interface Row {')[1]?.split('\n}')[0] ?? '';
    const fields = [...body.matchAll(/^ {2}(\w+): ([^;]+);/gm)].map(([, name, type]) => ({ name, type }));
    expect(COLUMN_HEADERS).toEqual(fields.map((f) => f.name));
    expect(COLUMNS.filter((c) => c.nullable).map((c) => c.header)).toEqual(
      fields.filter((f) => f.type?.endsWith('| null')).map((f) => f.name),
    );
    expect(COLUMNS.filter((c) => c.type !== 'text').map((c) => c.header)).toEqual(
      fields.filter((f) => f.type?.startsWith('number')).map((f) => f.name),
    );
  });

  it.each(COLUMNS)('$header is lower_snake_case and described in a sentence', ({ header, description }) => {
    expect(header).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    expect(description).toMatch(/^[A-Z`].*\.$/);
  });
});

describe('docs/columns.md', () => {
  it('is current (npx tsc && node scripts/generate-columns.mjs)', () => {
    expect(read('docs/columns.md')).toBe(columnsDocument());
  });

  it('has one row per column with its unit', () => {
    for (const { header, unit } of COLUMNS)
      expect(columnsDocument()).toContain(`| \`${header}\` | ${unit ?? ''} |`);
  });
});

import type { NumberedRow } from '../../../src/claims/series.js';
import type { Row } from '../../../src/core/row.js';
import { baselineRow } from '../sinks/sample-rows.js';

/** A measured row by what a claim looks at; its interval is +-1 %. */
export function measuredRow(kernel: string, latencyUs: number, more: Partial<Row> = {}): Row {
  const [scope = ''] = kernel.split('/');
  const speedup = more.speedup ?? null;
  return {
    ...baselineRow,
    scope: scope as Row['scope'],
    kernel,
    variant: kernel.endsWith('dense') && !kernel.includes('gather') ? 'dense' : 'mlp-sparse',
    latency_us_median: latencyUs,
    latency_us_ci_low: 0.99 * latencyUs,
    latency_us_ci_high: 1.01 * latencyUs,
    speedup,
    speedup_ci_low: speedup === null ? null : 0.99 * speedup,
    speedup_ci_high: speedup === null ? null : 1.01 * speedup,
    baseline_kernel: `${scope}/dense`,
    ...more,
  };
}

/** Rows as they stand in rows.csv, the first in line 2. */
export const numbered = (rows: readonly Row[]): NumberedRow[] => rows.map((row, i) => ({ row, line: i + 2 }));

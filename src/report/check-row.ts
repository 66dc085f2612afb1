import { BACKENDS, CACHE_MODES, DTYPES, SCOPES, VARIANTS } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import { STATUSES } from '../core/outcome.js';
import type { Row } from '../core/row.js';
import { COLUMNS } from './columns.js';

/** What makes a number quotable; without one of these a row must not be `ok`. */
const OK_NEEDS: readonly (keyof Row)[] = [
  'n_samples',
  'latency_us_median',
  'latency_us_ci_low',
  'latency_us_ci_high',
  'latency_us_q1',
  'latency_us_q3',
  'bound_us',
  'pct_of_bound',
  'max_rel_err',
];

const ONLY_OK_HAS: readonly (keyof Row)[] = [
  'latency_us_median',
  'latency_us_ci_low',
  'latency_us_ci_high',
  'latency_us_q1',
  'latency_us_q3',
  'tokens_per_s',
  'achieved_gb_per_s',
  'achieved_tflop_per_s',
  'pct_of_bound',
  'speedup',
  'speedup_ci_low',
  'speedup_ci_high',
];

const WORDS: readonly (readonly [column: keyof Row, allowed: readonly string[]])[] = [
  ['backend', BACKENDS],
  ['dtype', DTYPES],
  ['cache_mode', CACHE_MODES],
  ['scope', SCOPES],
  ['variant', VARIANTS],
  ['status', STATUSES],
];

function describe(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function fail(row: Row, what: string, column: keyof Row): never {
  const where = `${row.kernel}, batch_size ${row.batch_size}, kv_len ${row.kv_len ?? '-'}`;
  throw new InternalError(`Expected ${what} for ${column} of ${where}, got ${describe(row[column])}`);
}

/**
 * The row itself, when it keeps the promises of docs/columns.md: types, units of counts, what `ok` must have and what
 * the other statuses must not.
 *
 * @throws InternalError that names the first column that breaks one
 */
export function checkRow(row: Row): Row {
  for (const { header, type, nullable } of COLUMNS) {
    const value = row[header];
    if (value === null) {
      if (!nullable) fail(row, type === 'text' ? 'a text' : 'a number', header);
    } else if (type === 'text') {
      if (typeof value !== 'string') fail(row, 'a text', header);
    } else if (typeof value !== 'number' || !Number.isFinite(value)) {
      fail(row, 'a finite number', header);
    } else if (type === 'integer' && !Number.isInteger(value)) {
      fail(row, 'an integer', header);
    }
  }
  for (const [header, allowed] of WORDS) {
    if (!allowed.some((word) => word === row[header])) fail(row, `one of ${allowed.join(', ')}`, header);
  }
  if (row.status === 'ok') {
    for (const header of OK_NEEDS) if (row[header] === null) fail(row, 'a number on an ok row', header);
    if ((row.scope === 'step') !== (row.tokens_per_s !== null)) {
      fail(row, row.scope === 'step' ? 'a number on an ok row' : 'null outside scope step', 'tokens_per_s');
    }
  } else {
    for (const header of ONLY_OK_HAS)
      if (row[header] !== null) fail(row, `null on a row that is ${row.status}`, header);
    if (row.reason === null) fail(row, `a reason on a row that is ${row.status}`, 'reason');
  }
  return row;
}

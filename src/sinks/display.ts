import type { Row } from '../core/row.js';
import { formatLatency, NOT_AVAILABLE, threeDigits } from '../report/format.js';
import { sanitizeForTerminal } from '../report/sanitize.js';

/** Rows shown under one heading: everything that a heading names is the same for all of them. */
export interface RowGroup {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** What people read of a row, every text safe for a terminal. */
export interface DisplayRow {
  readonly batch: string;
  readonly kvLen: string;
  readonly variant: string;
  readonly kernel: string;
  readonly density: string;
  readonly latency: string;
  /** GB/s; in scope step tokens/s */
  readonly rate: string;
  readonly pctOfBound: string;
  readonly speedup: string;
  readonly status: string;
}

/** Headings of the columns of DisplayRow, in order. */
const DISPLAY_HEADINGS: Readonly<Record<keyof DisplayRow, string>> = {
  batch: 'batch',
  kvLen: 'kv_len',
  variant: 'variant',
  kernel: 'kernel',
  density: 'density',
  latency: 'latency',
  rate: 'GB/s',
  pctOfBound: '% bound',
  speedup: 'speedup (95 %)',
  status: 'status',
};

/** What a step is quoted by; the other scopes by the bytes they move. */
export function headingsOf({ rows }: RowGroup): string[] {
  const step = rows[0]?.scope === 'step';
  return Object.values(step ? { ...DISPLAY_HEADINGS, rate: 'tokens/s' } : DISPLAY_HEADINGS);
}

function latencyWithNoise(row: Row): string {
  const { latency_us_median: us, latency_us_ci_low: low, latency_us_ci_high: high } = row;
  if (us === null) return NOT_AVAILABLE;
  if (low === null || high === null) return formatLatency(us);
  // The farther end of the interval, so that the stated range contains all of it.
  const noise = (100 * Math.max(us - low, high - us)) / us;
  return `${formatLatency(us)} ±${noise < 10 ? noise.toFixed(1) : noise.toFixed(0)}%`;
}

/** Whether the row is what the speedups of its cell are relative to. */
export function isBaseline(row: Row): boolean {
  return row.baseline_kernel !== null && row.baseline_kernel === row.kernel;
}

function speedupWithInterval(row: Row): string {
  const { speedup, speedup_ci_low: low, speedup_ci_high: high } = row;
  if (isBaseline(row)) return 'baseline';
  if (speedup === null) return NOT_AVAILABLE;
  const ratio = `${threeDigits(speedup)}x`;
  return low === null || high === null ? ratio : `${ratio} ${threeDigits(low)}-${threeDigits(high)}`;
}

function density(row: Row): string {
  const shares = [row.head_density, row.mlp_density].filter((v) => v !== null);
  return shares.length === 0 ? NOT_AVAILABLE : shares.map((v) => String(Number(v.toFixed(3)))).join('/');
}

/** The kernel id without the scope, which the heading already names. */
export function shortKernel(row: Row): string {
  const prefix = `${row.scope}/`;
  return sanitizeForTerminal(row.kernel.startsWith(prefix) ? row.kernel.slice(prefix.length) : row.kernel);
}

export function displayRow(row: Row): DisplayRow {
  const rate = row.scope === 'step' ? row.tokens_per_s : row.achieved_gb_per_s;
  // Rows may come from a file, so not even the words of a fixed list are trusted here.
  const safe = sanitizeForTerminal;
  return {
    batch: String(row.batch_size),
    kvLen: row.kv_len === null ? NOT_AVAILABLE : String(row.kv_len),
    variant: safe(row.variant),
    kernel: shortKernel(row),
    density: density(row),
    latency: latencyWithNoise(row),
    rate: rate === null ? NOT_AVAILABLE : threeDigits(rate),
    pctOfBound: row.pct_of_bound === null ? NOT_AVAILABLE : row.pct_of_bound.toFixed(0),
    speedup: speedupWithInterval(row),
    status: safe(row.status),
  };
}

/** Groups by scope and by what else a heading says, in the order of the first row of each. */
export function groupRows(rows: readonly Row[]): RowGroup[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const parts = [
      row.model,
      row.scope,
      row.dtype,
      `${row.cache_mode} cache`,
      `${row.backend} (${row.device})`,
    ];
    const title = parts.map(sanitizeForTerminal).join(', ');
    const group = groups.get(title);
    if (group === undefined) groups.set(title, [row]);
    else group.push(row);
  }
  return [...groups].map(([title, members]) => ({ title, rows: members }));
}

/** A row's own words on its precision; the table shows the noise beside each latency, so they are only counted. */
const PRECISION = /^stopped by (.+?) after \d+ samples?: noise .+, (above the )?goal/;

/** "12 of 20 rows ended by --max-time above the noise goal" */
function precisionNotes(warnings: readonly string[], rows: number): string[] {
  const counts = new Map<string, number>();
  for (const warning of warnings) {
    const match = PRECISION.exec(warning);
    if (match?.[2] !== undefined) counts.set(match[1] ?? '', (counts.get(match[1] ?? '') ?? 0) + 1);
  }
  return [...counts].map(([limit, n]) => {
    const hint = limit === '--max-time' ? ' (a longer one narrows the intervals)' : '';
    return `${n} of ${rows} rows ended by ${sanitizeForTerminal(limit)} above the noise goal${hint}`;
  });
}

/**
 * What a table has no room for: why a row is not ok, and warnings. A text that several rows share is said once.
 *
 * @returns one line per text, safe for a terminal
 */
export function notesOf(rows: readonly Row[]): string[] {
  const notes = new Map<string, string[]>();
  const precision: string[] = [];
  for (const row of rows) {
    const place = `batch ${row.batch_size}${row.kv_len === null ? '' : `, kv_len ${row.kv_len}`}`;
    const warnings = (row.warnings ?? '').split('; ').filter((text) => text !== '');
    precision.push(...warnings.filter((text) => PRECISION.test(text)));
    const said = [
      ...(row.status === 'ok' ? [] : [`${row.status}: ${row.reason ?? 'no reason given'}`]),
      ...warnings.filter((text) => !PRECISION.test(text)).map((text) => `warning: ${text}`),
    ];
    for (const text of said) notes.set(text, [...(notes.get(text) ?? []), `${place}, ${shortKernel(row)}`]);
  }
  const shared = [...notes].map(([text, where]) => {
    const others = where.length > 1 ? ` (and ${where.length - 1} more)` : '';
    return `${where[0] ?? ''}${others}: ${sanitizeForTerminal(text)}`;
  });
  return [...shared, ...precisionNotes(precision, rows.length)];
}

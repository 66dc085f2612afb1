import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { TraceError, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { ROW_SCHEMA_VERSION } from '../core/row.js';
import type { StoredRun } from '../gate/stored.js';
import { RESULT_FILES } from '../sinks/folder.js';
import { forEachCsvRecord, forEachLine } from '../sinks/lines.js';
import { Collected } from './collected.js';
import { runConditions } from './run-conditions.js';
import { cellTitle, IDENTITY, keyOf, mediansOfLine } from './row-identity.js';

/** What both sides must share before their latencies may be compared. */
export const CONDITIONS = ['backend', 'device', 'driver_version', 'dtype', 'cache_mode'] as const;
export type Condition = (typeof CONDITIONS)[number];

const VALUES = [
  'schema_version',
  'run_id',
  'n_samples',
  'latency_us_median',
  'latency_us_ci_low',
  'latency_us_ci_high',
  'status',
  'reason',
] as const;

const NEEDED = [...CONDITIONS, ...IDENTITY, ...VALUES];
type Needed = (typeof NEEDED)[number];
type Fields = Readonly<Record<Needed, string>>;

/** One kernel in one cell, over all runs of a side. */
export interface ResultCell {
  readonly runs: StoredRun[];
  /** In the order of `runs`; a list, because a map in each of a hundred thousand cells takes too much memory */
  readonly runIds: string[];
  /** Why a run has no latency; the last such reason */
  reason: string | null;
  /** A row whose output was wrong */
  incorrect: boolean;
}

/** Everything that `compare` needs of one side. */
export interface ResultSet {
  readonly cells: ReadonlyMap<string, ResultCell>;
  readonly conditions: Readonly<Record<Condition, ReadonlySet<string>>>;
  /** CPU threads by env.json; empty for a rows.csv alone and for other backends, where they change nothing */
  readonly threads: ReadonlySet<string>;
  /** Larger half-width of the A/A intervals, 0.003 = 0.3 %; null where env.json has none */
  readonly aaSpread: number | null;
  readonly warnings: readonly string[];
}

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

function positive(text: string): number | null {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  return value > 0 && Number.isFinite(value) ? value : null;
}

/** Reads one side; several runs a side are several `run_id`s. */
class Reader {
  private readonly cells = new Map<string, ResultCell>();
  private readonly conditions = Object.fromEntries(
    CONDITIONS.map((name) => [name, new Set<string>()]),
  ) as Record<Condition, Set<string>>;
  private aaSpread: number | null = null;
  private readonly threads = new Set<string>();
  private readonly unusable = new Collected('rows without a usable latency are left out');
  private readonly repeated = new Collected('rows that occur twice in one run, the first is taken');
  private readonly warnings: string[] = [];

  /** rows.csv alone is taken as it is. */
  file(path: string): void {
    let positions: number[] | null = null;
    // One object for all rows: a new one for each costs a tenth of the time.
    const fields = {} as Record<Needed, string>;
    forEachCsvRecord(path, (record, line) => {
      if (positions === null) {
        positions = this.header(path, record);
        this.width = record.length;
        return;
      }
      if (record.length !== this.width) {
        throw new TraceError(
          `Expected ${this.width} fields for line ${line} of ${path}, got ${record.length}`,
          { hint: 'Was the file edited by hand or cut off? Measure again, or restore it.' },
        );
      }
      const at = positions;
      for (const [i, name] of NEEDED.entries()) fields[name] = record[at[i] as number] as string;
      this.row(fields, { path, line });
    });
    if (positions === null) {
      throw new TraceError(`Expected a header line for ${path}, got an empty file`, {
        hint: 'Name a result folder that a sweep has written, or its rows.csv.',
      });
    }
  }

  private width = 0;

  folder(path: string): void {
    this.file(join(path, RESULT_FILES.rows));
    const environment = join(path, RESULT_FILES.environment);
    if (existsSync(environment)) this.environment(environment);
    const samples = join(path, RESULT_FILES.samples);
    if (existsSync(samples)) this.checkSamples(samples);
  }

  result(): ResultSet {
    const warnings = [...this.warnings, ...this.unusable.lines(), ...this.repeated.lines()];
    const { cells, conditions, threads, aaSpread } = this;
    return { cells, conditions, threads, aaSpread, warnings };
  }

  private header(path: string, record: readonly string[]): number[] {
    return NEEDED.map((name) => {
      const at = record.indexOf(name);
      if (at >= 0) return at;
      throw new TraceError(`Expected a column ${name} for ${path}, got none`, {
        hint: 'The file must be a rows.csv that polar-bench has written (docs/columns.md).',
      });
    });
  }

  private row(f: Fields, where: { path: string; line: number }): void {
    if (f.schema_version !== String(ROW_SCHEMA_VERSION)) {
      throw new TraceError(
        `Expected schema_version ${ROW_SCHEMA_VERSION} for line ${where.line} of ${where.path}, got ${quoted(f.schema_version)}`,
        { hint: 'It was written by another version of polar-bench; measure again.' },
      );
    }
    const key = keyOf(IDENTITY.map((name) => f[name]));
    for (const name of CONDITIONS) this.conditions[name].add(f[name]);
    let cell = this.cells.get(key);
    if (cell === undefined) {
      cell = { runs: [], runIds: [], reason: null, incorrect: false };
      this.cells.set(key, cell);
    }
    if (f.status !== 'ok') {
      cell.reason = f.reason === '' ? f.status : `${f.status}: ${f.reason}`;
      cell.incorrect ||= f.status === 'incorrect';
      return;
    }
    if (cell.runIds.includes(f.run_id)) {
      this.repeated.add(`line ${where.line} of ${where.path} (${cellTitle(key)})`);
      return;
    }
    const medianUs = positive(f.latency_us_median);
    const lowUs = positive(f.latency_us_ci_low);
    const highUs = positive(f.latency_us_ci_high);
    if (medianUs === null || lowUs === null || highUs === null || lowUs > highUs) {
      const found = [f.latency_us_median, f.latency_us_ci_low, f.latency_us_ci_high].map((t) => quoted(t));
      cell.reason = `unusable latency ${found.join(', ')}`;
      this.unusable.add(`line ${where.line} of ${where.path} (${cellTitle(key)}: ${found.join(', ')})`);
      return;
    }
    cell.runs.push({ medianUs, lowUs, highUs });
    cell.runIds.push(this.interned(f.run_id));
  }

  private readonly runIds = new Map<string, string>();

  /** One copy of each run id, instead of a slice of the file in every row. */
  private interned(runId: string): string {
    const known = this.runIds.get(runId) ?? runId;
    this.runIds.set(known, known);
    return known;
  }

  private environment(path: string): void {
    const { threads, aaSpread, warning } = runConditions(path);
    if (threads !== null) this.threads.add(threads);
    if (aaSpread !== null) this.aaSpread = Math.max(this.aaSpread ?? 0, aaSpread);
    if (warning !== null) this.warnings.push(warning);
  }

  /** Compares what rows.csv says with the samples behind it. */
  private checkSamples(path: string): void {
    const differing = new Collected(`rows whose latency is not the median of their samples in ${path}`);
    const unreadable = new Collected(`lines of ${path} that cannot be read`);
    const withSamples = new Set<string>();
    const rest = forEachLine(path, (line, number) => {
      const medians = mediansOfLine(line);
      if (medians === null) unreadable.add(`line ${number}`);
      for (const [key, medianUs] of medians ?? []) {
        withSamples.add(key);
        const cell = this.cells.get(key);
        const runs = cell?.runs ?? [];
        if (cell === undefined) differing.add(`${cellTitle(key)} has samples and no row`);
        else if (!runs.some((run) => Math.abs(run.medianUs / medianUs - 1) < 1e-9))
          differing.add(cellTitle(key));
      }
    });
    if (rest > 0) this.warnings.push(`${path}: the last line was cut off`);
    for (const [key, cell] of this.cells) {
      if (cell.runs.length > 0 && !withSamples.has(key)) differing.add(`${cellTitle(key)} has no samples`);
    }
    this.warnings.push(...differing.lines(), ...unreadable.lines());
  }
}

function foldersIn(name: string, path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((e) => e.isDirectory()).map((e) => join(path, e.name));
  } catch (cause) {
    throw new UsageError(`Expected a readable folder for ${name}, got ${quoted(path)}`, {
      hint: (cause as Error).message,
      cause,
    });
  }
}

/**
 * Reads one side of a comparison: a rows.csv, a result folder, or a folder of result folders (several runs).
 *
 * @throws UsageError when there is nothing of the kind; TraceError when a file is not what it should be
 */
export function readResultSet(name: 'BASE' | 'HEAD', path: string): ResultSet {
  if (!existsSync(path)) {
    throw new UsageError(`Expected a result folder or rows.csv for ${name}, got ${quoted(path)}`, {
      hint: 'There is no such file or folder.',
    });
  }
  const reader = new Reader();
  if (!statSync(path).isDirectory()) {
    reader.file(path);
    return reader.result();
  }
  const holdsRows = (folder: string): boolean => existsSync(join(folder, RESULT_FILES.rows));
  const folders = holdsRows(path) ? [path] : foldersIn(name, path).filter(holdsRows).toSorted();
  if (folders.length === 0) {
    throw new UsageError(`Expected a result folder for ${name}, got ${quoted(path)} without rows.csv`, {
      hint: 'A sweep writes its results to --out; a folder of such folders counts as several runs.',
    });
  }
  for (const folder of folders) reader.folder(folder);
  return reader.result();
}

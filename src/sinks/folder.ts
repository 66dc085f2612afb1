import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { UsageError } from '../core/errors.js';
import type { Row } from '../core/row.js';
import type { BreakdownRow } from '../report/step.js';
import { breakdownCsv, csvHeader, csvRows } from './csv.js';
import { jsonDocument } from './json.js';
import { appendLine, cutFile, probeWritable, replaceFile } from './durable.js';
import { FolderLock } from './lock.js';
import { planDocument, type PlanFile } from './plan-file.js';
import { readSamples, type SamplesFile } from './read.js';
import type { CellRecord } from '../core/outcome.js';
import { recordToLine } from './samples-line.js';

/** What a result folder always holds. */
export const RESULT_FILES = {
  plan: 'plan.json',
  environment: 'env.json',
  rows: 'rows.csv',
  samples: 'samples.jsonl',
} as const;

/** Beside them, where the parts of decode steps were asked for. */
export const BREAKDOWN_FILE = 'breakdown.csv';

/**
 * A result folder. Everything is on the disk before a method returns: rows.csv is always whole, samples.jsonl has one
 * line per finished cell. All writes throw SinkError with the path.
 */
export class ResultFolder {
  private rowsCsv = csvHeader();
  private lock: FolderLock | null = null;

  /** @param path absolute; @param created folders that preparing made, deepest first */
  constructor(
    readonly path: string,
    private readonly created: readonly string[],
  ) {}

  private file(name: keyof typeof RESULT_FILES): string {
    return join(this.path, RESULT_FILES[name]);
  }

  /**
   * Keeps other sweeps out until `release`.
   * @throws UsageError when one is writing here
   */
  acquire(): void {
    this.lock = FolderLock.take(this.path, this.path);
  }

  /**
   * The same for a folder that was just prepared: whoever else found it empty may have written into it since.
   * @param given the folder as the user wrote it
   * @throws UsageError when it is in use or holds results
   */
  acquireNew(given: string): void {
    this.acquire();
    if (!existsSync(this.file('plan'))) return;
    this.release();
    throw new UsageError(`Expected an absent or empty folder for --out, got ${given} with results by now`, {
      hint: 'Another process was faster; choose another folder, or continue its sweep with --resume.',
    });
  }

  release(): void {
    this.lock?.release();
    this.lock = null;
  }

  /** Writes plan.json, and rows.csv with its header alone: an interrupted run has all its files from the start. */
  writePlan(plan: PlanFile): void {
    replaceFile(this.file('plan'), jsonDocument(planDocument(plan)));
    replaceFile(this.file('rows'), this.rowsCsv);
  }

  /** Writes env.json; may be called again when more is known (ceilings after the sweep, the A/A spread). */
  writeEnvironment(environment: Readonly<Record<string, unknown>>): void {
    replaceFile(this.file('environment'), jsonDocument(environment));
  }

  /** Keeps one finished cell: its samples first, so that no row exists whose samples are lost. */
  writeCell(record: CellRecord, rows: readonly Row[]): void {
    this.writeSamples(record);
    const next = this.rowsCsv + csvRows(rows);
    replaceFile(this.file('rows'), next);
    this.rowsCsv = next;
  }

  /** Keeps the samples of a cell alone; `rewriteRows` follows. */
  writeSamples(record: CellRecord): void {
    appendLine(this.file('samples'), recordToLine(record));
  }

  /** Replaces all rows: the final ceilings of a run change bounds that were written with the first ones. */
  rewriteRows(rows: readonly Row[]): void {
    this.rowsCsv = csvHeader() + csvRows(rows);
    replaceFile(this.file('rows'), this.rowsCsv);
  }

  /** Replaces breakdown.csv by the parts of all steps so far. */
  writeBreakdown(rows: readonly BreakdownRow[]): void {
    replaceFile(join(this.path, BREAKDOWN_FILE), breakdownCsv(rows));
  }

  /** The finished cells of an earlier run; a last line that was cut off is removed, its cell is measured again. */
  recover(): SamplesFile {
    if (!existsSync(this.file('samples'))) return { records: [], intactBytes: 0, truncation: null };
    const samples = readSamples(this.file('samples'));
    if (samples.truncation !== null) cutFile(this.file('samples'), samples.intactBytes);
    return samples;
  }

  /** Takes back the folders that preparing made, as far as they are empty; for an error before anything was written. */
  discardIfEmpty(): void {
    removeEmpty(this.created);
  }
}

function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders) {
    if (!existsSync(folder)) continue;
    if (readdirSync(folder).length > 0) return;
    rmdirSync(folder);
  }
}

/** The folders that creating `path` makes, deepest first. */
function missingFolders(path: string): string[] {
  const missing: string[] = [];
  for (let at = path; !existsSync(at) && at !== dirname(at); at = dirname(at)) missing.push(at);
  return missing;
}

function refuseUnlessEmpty(path: string, given: string): void {
  if (!statSync(path).isDirectory()) {
    throw new UsageError(`Expected a folder for --out, got the file ${given}`, {
      hint: 'Name a folder that is absent or empty.',
    });
  }
  // A lock says that another sweep is about to write, or was killed: taking the lock tells which. A probe is gone soon.
  const entries = readdirSync(path).filter((name) => !/^\.(lock|write-test)/.test(name)).length;
  if (entries > 0) {
    throw new UsageError(
      `Expected an absent or empty folder for --out, got ${given} with ${entries} ${entries === 1 ? 'entry' : 'entries'}`,
      { hint: 'Choose another folder, or continue a sweep with --resume.' },
    );
  }
}

/**
 * Makes a folder ready to take results, before anything is measured: creates it where it is absent and proves by
 * writing that it takes files.
 *
 * @param given as the user wrote it; relative to the current folder
 * @throws UsageError when it is a file, not empty or not writable; nothing that was created stays behind
 */
export function prepareFolder(given: string): ResultFolder {
  const path = resolve(given);
  let created: string[] = [];
  try {
    if (existsSync(path)) refuseUnlessEmpty(path, given);
    created = missingFolders(path);
    // One by one: a recursive mkdir never returns where the file system refuses new folders as /proc does.
    for (const folder of created.toReversed()) mkdirSync(folder);
    probeWritable(path);
  } catch (cause) {
    removeEmpty(created);
    if (cause instanceof UsageError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`Expected a writable folder for --out, got ${given} (${why})`, {
      hint: 'Choose a folder on a disk with free space where you may create files.',
      cause,
    });
  }
  return new ResultFolder(path, created);
}

/**
 * Opens the folder of an earlier sweep to write more into it.
 *
 * @param given as the user wrote it
 * @param purpose what the user named it for, for messages
 * @throws UsageError when there is none or it cannot be written
 */
export function reopenFolder(given: string, purpose = '--resume'): ResultFolder {
  const path = resolve(given);
  try {
    probeWritable(path);
  } catch (cause) {
    throw new UsageError(
      `Expected a writable result folder for ${purpose}, got ${given} (${(cause as Error).message})`,
      {
        hint: 'Name a folder that a sweep has written: it prints it at its start and end.',
        cause,
      },
    );
  }
  return new ResultFolder(path, []);
}

import { randomBytes } from 'node:crypto';

import type { Candidate, Cell } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import { EXIT, InternalError, NativeError, UsageError } from '../core/errors.js';
import type { SweepPlan } from '../core/plan.js';
import type { Row } from '../core/row.js';
import type { CellRecord } from '../core/outcome.js';
import { rowsOf, type RowContext, runSweep } from '../pipeline.js';
import { type BreakdownRow, breakdownRows } from '../report/step.js';
import { type EnvironmentFile, environmentDifferences } from '../sinks/environment-file.js';
import type { ResultFolder } from '../sinks/folder.js';
import { type PlanFile, shardCells } from '../sinks/plan-file.js';
import type { ChosenBackend } from './backend-choice.js';
import { environmentDocument } from './environment.js';
import {
  ceilingsSpread,
  ceilingsWarnings,
  knownCeilings,
  largerCeilings,
  measureAA,
  storedCeilings,
} from './instrument.js';
import { exitCodeOf } from './print-rows.js';
import { SweepProgress } from './progress.js';
import { shellWord } from './repro.js';
import { abortOnSignals } from './signals.js';
import { duration, say, type Terminal, warn } from './terminal.js';

export interface SweepJob {
  readonly plan: PlanFile;
  readonly chosen: ChosenBackend;
  /** Acquired */
  readonly folder: ResultFolder;
  /** What an earlier, interrupted run of the same plan has left; null for a fresh one */
  readonly earlier: EarlierRun | null;
  readonly startedAt: string;
  /** Shows the rows once the sweep ended, also where it was interrupted; in the order of rows.csv */
  readonly print: (rows: readonly Row[], breakdown: readonly BreakdownRow[]) => Promise<void>;
  /** The command whose --resume goes on with the folder */
  readonly command: 'sweep' | 'reproduce';
  readonly argv: readonly string[];
  readonly reproCommand: (cell: Cell, candidate: Candidate) => string;
  readonly terminal: Terminal;
}

export interface EarlierRun {
  readonly records: readonly CellRecord[];
  /** null: it ended before anything was measured */
  readonly environment: EnvironmentFile | null;
}

/** A sweep under way: what is measured, what is written, and what env.json says. */
class SweepRun {
  readonly records: CellRecord[];
  /** In the order of the records */
  rows: Row[] = [];
  readonly remaining: SweepPlan;
  private readonly runId: string;
  private aaSpread: unknown;
  private before: Ceilings | null = null;
  /** Every measurement of this sweep, in the order of time; rows count against the largest */
  private measured: Ceilings[] = [];

  constructor(private readonly job: SweepJob) {
    const { plan, earlier } = job;
    this.records = [...(earlier?.records ?? [])];
    this.runId = earlier?.environment?.run_id ?? randomBytes(6).toString('hex');
    this.aaSpread = earlier?.environment?.aa_spread ?? null;
    const done = new Set(this.records.map((record) => record.cell.key));
    const cells = shardCells(plan.plan, plan.shard).filter((cell) => !done.has(cell.key));
    this.remaining = { ...plan.plan, cells };
  }

  /** Ceilings and A/A spread first: every row needs them. */
  async measureInstrument(): Promise<void> {
    const { chosen, earlier, folder } = this.job;
    const stored = earlier?.environment ?? null;
    this.refuseOtherEnvironment(stored);
    this.before = await chosen.backend.measureCeilings(this.dtype(), this.remaining.threads);
    this.measured = [...knownCeilings(stored), this.before];
    this.aaSpread ??= await measureAA(chosen.backend, this.remaining);
    folder.writeEnvironment(this.environment(null));
    this.buildRows();
    if (this.records.length > 0) folder.rewriteRows(this.rows);
    this.writeBreakdown();
  }

  /** Whether an earlier run got to its end: then there is nothing to measure, not even ceilings. */
  restoreComplete(): boolean {
    const stored = this.job.earlier?.environment ?? null;
    const ended = stored !== null && storedCeilings(stored.ceilings_after) !== null;
    if (this.remaining.cells.length > 0 || !ended) return false;
    this.refuseOtherEnvironment(stored);
    this.measured = knownCeilings(stored);
    this.buildRows();
    this.job.folder.rewriteRows(this.rows);
    this.writeBreakdown();
    return true;
  }

  keep(record: CellRecord): void {
    const rows = rowsOf(record, this.context());
    this.job.folder.writeCell(record, rows);
    this.records.push(record);
    this.rows.push(...rows);
    this.writeBreakdown();
  }

  /** The parts of all steps that are done; from the samples, so that a resumed run has those of the first as well. */
  breakdown(): BreakdownRow[] {
    return this.records.flatMap((record) => breakdownRows(record, this.runId));
  }

  private writeBreakdown(): void {
    if (this.job.plan.plan.breakdown) this.job.folder.writeBreakdown(this.breakdown());
  }

  /** Ceilings once more: they rise when the first measurement was disturbed, and every bound with them. */
  async finish(): Promise<void> {
    const { folder } = this.job;
    const after = await this.ceilingsAfter();
    if (after === null) return;
    this.measured.push(after);
    for (const text of ceilingsWarnings(this.measured)) warn(this.job.terminal, text);
    folder.writeEnvironment(this.environment(after));
    this.buildRows();
    folder.rewriteRows(this.rows);
  }

  /** null, with a warning, when the device is lost by now: that must not cost the cells that are done. */
  private async ceilingsAfter(): Promise<Ceilings | null> {
    try {
      return await this.job.chosen.backend.measureCeilings(this.dtype(), this.remaining.threads);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      warn(this.job.terminal, `the ceilings could not be measured again: ${error.message} [${error.code}]`);
      return null;
    }
  }

  private dtype(): 'bf16' | 'fp16' {
    return this.job.plan.plan.cells[0]?.dtype ?? 'bf16';
  }

  private buildRows(): void {
    this.rows = this.records.flatMap((record) => rowsOf(record, this.context()));
  }

  private context(): RowContext {
    const [first, ...others] = this.measured;
    if (first === undefined) throw new InternalError('Expected measured ceilings for a row, got none yet');
    const { facts } = this.job.chosen;
    return {
      run: { runId: this.runId, deviceName: facts.name, driverVersion: facts.driverVersion },
      ceilings: others.reduce(largerCeilings, first),
      maxNoise: this.remaining.sampling.maxNoise,
      reproCommand: this.job.reproCommand,
    };
  }

  private ownEnvironment(ceilingsAfter: Ceilings | null): Record<string, unknown> {
    const { job } = this;
    return environmentDocument({
      runId: this.runId,
      argv: job.argv,
      seed: job.plan.plan.cells[0]?.seed ?? 0,
      threads: this.remaining.threads,
      device: job.chosen.facts,
      ceilings: this.before,
      ceilingsAfter,
      ceilingsSpread: ceilingsSpread(this.measured),
      aaSpread: this.aaSpread,
      startedAt: job.startedAt,
      endedAt: ceilingsAfter === null ? null : new Date().toISOString(),
    });
  }

  /** env.json of this run; the first run's, continued, where one was resumed. */
  private environment(ceilingsAfter: Ceilings | null): Record<string, unknown> {
    const own = this.ownEnvironment(ceilingsAfter);
    const stored = this.job.earlier?.environment ?? null;
    if (stored === null) return own;
    const resumed = Array.isArray(stored['resumed']) ? (stored['resumed'] as unknown[]) : [];
    const { started_at, argv, ceilings, ended_at, ceilings_after, ceilings_spread, aa_spread } = own;
    return {
      ...stored,
      ended_at,
      ceilings_after,
      ceilings_spread,
      aa_spread,
      resumed: [...resumed, { started_at, argv, ceilings }],
    };
  }

  private refuseOtherEnvironment(stored: EnvironmentFile | null): void {
    if (stored === null) return;
    const differing = environmentDifferences(stored, this.ownEnvironment(null));
    if (differing.length === 0) return;
    throw new UsageError(
      `Expected the machine and build of the first run for --resume, got another (${differing.join('; ')})`,
      { hint: 'Numbers of two environments do not belong into one table: start a new sweep.' },
    );
  }
}

/** Measures what is left of a plan into its folder and shows all rows. Returns the exit code. */
export async function measureSweep(job: SweepJob): Promise<number> {
  const { chosen, folder, terminal } = job;
  const started = performance.now();
  const run = new SweepRun(job);
  const resume = `polar-bench ${job.command} --resume ${shellWord(folder.path)}`;
  const { signal, dispose } = abortOnSignals([chosen.backend]);
  let progress: SweepProgress | null = null;
  try {
    if (job.earlier === null) folder.writePlan(job.plan);
    if (!run.restoreComplete()) {
      say(terminal, `results go to ${folder.path}`);
      say(terminal, 'measuring the ceilings of this machine');
      await run.measureInstrument();
      const bar = new SweepProgress(terminal, run.remaining.cells.length);
      progress = bar;
      await runSweep(
        run.remaining,
        chosen.backend,
        {
          cellStarted: (cell, index) => bar.cellStarted(cell, index),
          progress: (p) => bar.phase(p.phase),
          cellDone: (record) => run.keep(record),
        },
        { timestamp: () => new Date().toISOString() },
        signal,
      );
      if (!signal.aborted) await run.finish();
    }
  } catch (error) {
    // What an abort does to the call under way is no news; a disk that is full still is.
    if (!signal.aborted) {
      if (run.records.length > 0) warn(terminal, `continue with: ${resume}`);
      throw error;
    }
  } finally {
    progress?.stop();
    dispose();
  }
  await job.print(run.rows, run.breakdown());
  const total = shardCells(job.plan.plan, job.plan.shard).length;
  const time = duration((performance.now() - started) / 1000);
  if (signal.aborted) {
    warn(terminal, `interrupted after ${run.records.length} of ${total} cells in ${time}`);
    warn(terminal, `continue with: ${resume}`);
    return EXIT.interrupted;
  }
  say(terminal, `${run.records.length} of ${total} cells in ${time}`);
  say(terminal, `results are in ${folder.path}`);
  return exitCodeOf(run.rows);
}

import { randomBytes } from 'node:crypto';

import type { Backend } from '../backends/backend.js';
import { type Candidate, type Cell, cellKey } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import { EXIT } from '../core/errors.js';
import type { SweepPlan } from '../core/plan.js';
import type { Row } from '../core/row.js';
import { type CellRecord, rowsOf, type RowContext, runSweep } from '../pipeline.js';
import type { ResultFolder } from '../sinks/folder.js';
import { createSink } from '../sinks/create.js';
import type { Format } from '../sinks/sink.js';
import { type AASpread, normalizeAA } from '../stats/paired.js';
import type { ChosenBackend } from './backend-choice.js';
import { environmentDocument } from './environment.js';
import { SweepProgress } from './progress.js';
import { duration, say, type Terminal, wantsColour, warn } from './terminal.js';

export interface SweepJob {
  readonly plan: SweepPlan;
  readonly chosen: ChosenBackend;
  readonly folder: ResultFolder;
  readonly startedAt: string;
  readonly format: Format;
  readonly argv: readonly string[];
  readonly reproCommand: (cell: Cell, candidate: Candidate) => string;
  readonly terminal: Terminal;
}

/** Seconds of sampling that the A/A cell may take. */
const AA_TIME_S = 2;

/** The larger of two measurements of the same ceilings: too low a ceiling flatters every share of it. */
function larger(a: Ceilings, b: Ceilings): Ceilings {
  return {
    readGbPerS: Math.max(a.readGbPerS, b.readGbPerS),
    matrixTflopPerS: Math.max(a.matrixTflopPerS, b.matrixTflopPerS),
    details: a.details,
  };
}

/** The same dense kernel twice in one cell: what the instrument says where there is nothing to find. */
async function measureAA(backend: Backend, plan: SweepPlan): Promise<AASpread | null> {
  const cell = plan.cells.find((c) => c.candidates.some((k) => k.variant === 'dense'));
  const dense = cell?.candidates.find((k) => k.variant === 'dense');
  if (cell === undefined || dense === undefined) return null;
  const twice = { ...cell, candidates: [dense, dense] };
  const outcome = await backend.measure({
    cell: { ...twice, key: cellKey(twice) },
    sampling: { ...plan.sampling, maxTimeS: Math.min(AA_TIME_S, plan.sampling.maxTimeS) },
    threads: plan.threads,
  });
  const [a, b] = outcome.candidates;
  return a?.status === 'ok' && b?.status === 'ok' ? normalizeAA(a.samplesNs, b.samplesNs, cell.seed) : null;
}

function exitCodeOf(rows: readonly Row[], interrupted: boolean): number {
  if (interrupted) return EXIT.interrupted;
  if (rows.some((row) => row.status === 'incorrect')) return EXIT.incorrect;
  if (rows.some((row) => row.status === 'failed') || !rows.some((row) => row.status === 'ok')) {
    return EXIT.failedCells;
  }
  return EXIT.ok;
}

/** Aborts on SIGINT and SIGTERM by killing the measuring process; `dispose` takes the handlers away again. */
function abortOnSignals(backend: Backend): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = (): void => {
    controller.abort();
    void backend.close();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

async function printRows(rows: readonly Row[], format: Format, terminal: Terminal): Promise<void> {
  const sink = await createSink(format, terminal.stdout, {
    colour: wantsColour(terminal.stdout, terminal.env),
  });
  sink.header();
  for (const row of rows) sink.row(row);
  sink.finish();
}

/** Measures a plan into its folder and prints the rows. Returns the exit code. */
export async function measureSweep(job: SweepJob): Promise<number> {
  const { plan, chosen, folder, terminal } = job;
  const { backend, facts } = chosen;
  const started = performance.now();
  const runId = randomBytes(6).toString('hex');
  const dtype = plan.cells[0]?.dtype ?? 'bf16';
  const records: CellRecord[] = [];
  const { signal, dispose } = abortOnSignals(backend);
  let progress: SweepProgress | null = null;
  try {
    folder.writePlan(plan);
    say(terminal, `results go to ${folder.path}`);
    say(terminal, 'measuring the ceilings of this machine');
    const before = await backend.measureCeilings(dtype, plan.threads);
    const aaSpread = await measureAA(backend, plan);
    const environment = (ceilingsAfter: Ceilings | null): Record<string, unknown> =>
      environmentDocument({
        runId,
        argv: job.argv,
        seed: plan.cells[0]?.seed ?? 0,
        threads: plan.threads,
        device: facts,
        ceilings: before,
        ceilingsAfter,
        aaSpread,
        startedAt: job.startedAt,
        endedAt: ceilingsAfter === null ? null : new Date().toISOString(),
      });
    folder.writeEnvironment(environment(null));
    const context = (ceilings: Ceilings): RowContext => ({
      run: { runId, deviceName: facts.name, driverVersion: facts.driverVersion },
      ceilings,
      maxNoise: plan.sampling.maxNoise,
      reproCommand: job.reproCommand,
    });
    const bar = new SweepProgress(terminal, plan.cells.length);
    progress = bar;
    await runSweep(
      plan,
      backend,
      {
        cellStarted: (cell, index) => bar.cellStarted(cell, index),
        progress: (p) => bar.phase(p.phase),
        cellDone: (record) => {
          records.push(record);
          folder.writeCell(record, rowsOf(record, context(before)));
        },
      },
      { timestamp: () => new Date().toISOString() },
      signal,
    );
    bar.stop();
    let ceilings = before;
    if (!signal.aborted) {
      const after = await backend.measureCeilings(dtype, plan.threads);
      ceilings = larger(before, after);
      folder.writeEnvironment(environment(after));
    }
    const rows = records.flatMap((record) => rowsOf(record, context(ceilings)));
    folder.rewriteRows(rows);
    await printRows(rows, job.format, terminal);
    say(
      terminal,
      `${records.length} of ${plan.cells.length} cells in ${duration((performance.now() - started) / 1000)}`,
    );
    say(terminal, `results are in ${folder.path}`);
    return exitCodeOf(rows, signal.aborted);
  } catch (error) {
    if (!signal.aborted) throw error;
    warn(terminal, `interrupted; ${records.length} finished cells are in ${folder.path}`);
    return EXIT.interrupted;
  } finally {
    progress?.stop();
    dispose();
  }
}

import type { Backend, Progress } from './backends/backend.js';
import type { Candidate, Cell } from './core/cell.js';
import type { Ceilings } from './core/environment.js';
import type { CellRecord } from './core/outcome.js';
import type { SweepPlan } from './core/plan.js';
import type { Row } from './core/row.js';
import { buildRows, type RunFacts } from './report/row.js';
import { precisionWarnings } from './stats/precision.js';
import { summarizeCell } from './stats/summarize.js';
import { boundOf } from './theory/roofline.js';
import { trafficOf } from './theory/traffic.js';

export interface RowContext {
  readonly run: Omit<RunFacts, 'timestamp'>;
  readonly ceilings: Ceilings;
  readonly maxNoise: number;
  readonly reproCommand: (cell: Cell, candidate: Candidate) => string;
}

/** Samples -> summary -> row: the whole of the arithmetic, so that saved samples give the same rows again. */
export function rowsOf({ cell, outcome, timestamp }: CellRecord, context: RowContext): Row[] {
  const summaries = summarizeCell(cell, outcome, cell.seed);
  const traffic = cell.candidates.map((candidate) => trafficOf(cell, candidate));
  return buildRows({
    cell,
    outcome,
    summaries,
    traffic: traffic.map((t) => ({ bytes: t.bytesMoved, flops: t.flops })),
    bounds: traffic.map((t) => ({ boundUs: boundOf(t, context.ceilings).boundUs })),
    extraWarnings: precisionWarnings(outcome, summaries, context.maxNoise),
    run: { ...context.run, timestamp },
    reproCommand: context.reproCommand,
  });
}

/** Who wants to know how a sweep goes. */
export interface SweepObserver {
  cellStarted?(cell: Cell, index: number): void;
  progress?(progress: Progress): void;
  /** Called when the cell's samples are complete; the next cell starts after it returned. */
  cellDone(record: CellRecord): void;
}

export interface SweepClock {
  /** ISO 8601, UTC */
  timestamp(): string;
}

/**
 * Measures the cells of a plan in order. A cell that fails is a record like any other; only a backend that is gone for
 * good rejects. Ends early, between cells, once `signal` is aborted.
 */
export async function runSweep(
  plan: SweepPlan,
  backend: Backend,
  observer: SweepObserver,
  clock: SweepClock,
  signal: AbortSignal,
): Promise<void> {
  for (const [index, cell] of plan.cells.entries()) {
    if (signal.aborted) return;
    observer.cellStarted?.(cell, index);
    const outcome = await backend.measure(
      { cell, sampling: plan.sampling, threads: plan.threads, breakdown: plan.breakdown },
      (progress) => observer.progress?.(progress),
    );
    // An abort kills the measuring process: what it answers then is not a result.
    if (signal.aborted) return;
    observer.cellDone({ cell, outcome, timestamp: clock.timestamp() });
  }
}

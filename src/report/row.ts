import { headDensity, mlpDensity, type Candidate, type Cell } from '../core/cell.js';
import { slowDenseStep } from '../core/dense-step.js';
import { InternalError } from '../core/errors.js';
import type { CandidateOutcome, Outcome, Status } from '../core/outcome.js';
import { ROW_SCHEMA_VERSION, type Row } from '../core/row.js';
import type { CandidateSummary } from '../core/summary.js';
import { BYTES_PER_GB, FLOP_PER_TFLOP, NS_PER_S, NS_PER_US } from '../core/units.js';
import { checkRow } from './check-row.js';
import { stepWarnings } from './step.js';

/** What the rows of one run have in common. */
export interface RunFacts {
  readonly runId: string;
  /** ISO 8601, UTC */
  readonly timestamp: string;
  readonly deviceName: string;
  readonly driverVersion: string | null;
}

/** What a candidate must read and write (bytes) and compute (operations) in one run. */
export interface CandidateTraffic {
  readonly bytes: number;
  readonly flops: number;
}

/** Shortest possible time of one run on this machine, microseconds. */
export interface CandidateBound {
  readonly boundUs: number;
}

/** Lists hold one entry per candidate of the cell, in its order. */
export interface BuildRowsInput {
  readonly cell: Cell;
  readonly outcome: Outcome;
  readonly summaries: readonly (CandidateSummary | null)[];
  readonly traffic: readonly (CandidateTraffic | null)[];
  readonly bounds: readonly (CandidateBound | null)[];
  /** Said about one candidate beyond what the outcome says, such as the precision reached; null or absent: nothing */
  readonly extraWarnings?: readonly (string | null)[];
  readonly run: RunFacts;
  readonly reproCommand: (cell: Cell, candidate: Candidate) => string;
}

/** Status and reason as the row states them. */
interface Verdict {
  readonly status: Status;
  readonly reason: string | null;
}

/** A candidate that passed its check but lost every sample has no latency, so its row cannot be `ok`. */
function verdictOf(outcome: CandidateOutcome, summary: CandidateSummary | null): Verdict {
  if (outcome.status === 'ok') {
    const allDiscarded = outcome.samplesNs.length > 0 && outcome.samplesNs.every((v) => v === null);
    if (summary === null && allDiscarded) {
      return { status: 'failed', reason: `all ${outcome.samplesNs.length} samples were discarded` };
    }
    return { status: 'ok', reason: null };
  }
  const code = outcome.status === 'incorrect' ? null : outcome.code;
  return { status: outcome.status, reason: code === null ? outcome.reason : `${code}: ${outcome.reason}` };
}

/** The error norm; null where there is none, or where the output held NaN or infinity and none exists. */
function errorNorm(outcome: CandidateOutcome): number | null {
  if (outcome.status !== 'ok' && outcome.status !== 'incorrect') return null;
  const norm = outcome.verification.maxRelErr;
  return outcome.status === 'incorrect' && !Number.isFinite(norm) ? null : norm;
}

function ofDenseStep({ cell, outcome }: BuildRowsInput): string[] {
  const text = slowDenseStep(cell.candidates, outcome.candidates);
  return text === null ? [] : [text];
}

/** Texts are joined by `; `, so none of ours holds one. */
function joinWarnings(input: BuildRowsInput, index: number): string | null {
  const { cell } = input;
  const summary = input.summaries[index] ?? null;
  const outcome = input.outcome.candidates[index];
  const extra = input.extraWarnings?.[index] ?? null;
  const unpaired =
    summary !== null && summary.speedup === null && summary.baselineKernel !== null
      ? [`no sampling round in common with ${summary.baselineKernel}`]
      : [];
  const ofStep = cell.scope === 'step' ? stepWarnings(cell.model, outcome, summary?.latency ?? null) : [];
  const ofBaseline = cell.scope === 'step' && summary !== null ? ofDenseStep(input) : [];
  const own = [...input.outcome.warnings, ...(outcome?.warnings ?? []), ...(extra === null ? [] : [extra])];
  const all = new Set([...own, ...unpaired, ...ofStep, ...ofBaseline]);
  return all.size === 0 ? null : [...all].join('; ');
}

const us = (ns: number | undefined): number | null => (ns === undefined ? null : ns / NS_PER_US);

/** Columns that exist only where there is a latency. */
function timing(
  summary: CandidateSummary | null,
  traffic: CandidateTraffic | null,
  bound: CandidateBound | null,
): Pick<
  Row,
  | 'n_samples'
  | 'latency_us_median'
  | 'latency_us_ci_low'
  | 'latency_us_ci_high'
  | 'latency_us_q1'
  | 'latency_us_q3'
  | 'achieved_gb_per_s'
  | 'achieved_tflop_per_s'
  | 'pct_of_bound'
  | 'baseline_kernel'
  | 'speedup'
  | 'speedup_ci_low'
  | 'speedup_ci_high'
  | 'sm_clock_mhz'
> {
  const latency = summary?.latency ?? null;
  const perSecond = (count: number | undefined, unit: number): number | null =>
    latency === null || count === undefined ? null : count / (latency.medianNs / NS_PER_S) / unit;
  return {
    n_samples: latency?.numSamples ?? null,
    latency_us_median: us(latency?.medianNs),
    latency_us_ci_low: us(latency?.ci.low),
    latency_us_ci_high: us(latency?.ci.high),
    latency_us_q1: us(latency?.q1Ns),
    latency_us_q3: us(latency?.q3Ns),
    achieved_gb_per_s: perSecond(traffic?.bytes, BYTES_PER_GB),
    achieved_tflop_per_s: perSecond(traffic?.flops, FLOP_PER_TFLOP),
    pct_of_bound:
      latency === null || bound === null ? null : (100 * bound.boundUs * NS_PER_US) / latency.medianNs,
    baseline_kernel: summary?.baselineKernel ?? null,
    speedup: summary?.speedup?.ratio ?? null,
    speedup_ci_low: summary?.speedup?.ci.low ?? null,
    speedup_ci_high: summary?.speedup?.ci.high ?? null,
    sm_clock_mhz: summary?.medianClockMhz ?? null,
  };
}

/** A step gives one token of each sequence. */
function tokensPerSecond(batchSize: number, summary: CandidateSummary | null): number | null {
  return summary === null ? null : batchSize / (summary.latency.medianNs / NS_PER_S);
}

function buildRow(
  input: BuildRowsInput,
  candidate: Candidate,
  outcome: CandidateOutcome,
  index: number,
): Row {
  const { cell, run } = input;
  const summary = input.summaries[index] ?? null;
  const traffic = input.traffic[index] ?? null;
  const bound = input.bounds[index] ?? null;
  const { status, reason } = verdictOf(outcome, summary);
  const measured = status === 'ok' ? summary : null;
  return {
    schema_version: ROW_SCHEMA_VERSION,
    run_id: run.runId,
    timestamp: run.timestamp,
    model: cell.model.name,
    backend: cell.backend,
    device: run.deviceName,
    driver_version: run.driverVersion,
    dtype: cell.dtype,
    cache_mode: cell.cacheMode,
    scope: cell.scope,
    variant: candidate.variant,
    kernel: candidate.kernel,
    batch_size: cell.batchSize,
    kv_len: cell.kvLen,
    head_density: headDensity(cell.model, candidate),
    active_heads: candidate.activeHeads,
    mlp_density: mlpDensity(cell.model, candidate),
    active_neurons: candidate.activeNeurons,
    density_source: candidate.densitySource,
    resident_layers: outcome.status === 'ok' ? outcome.residentLayers : null,
    tokens_per_s: cell.scope === 'step' ? tokensPerSecond(cell.batchSize, measured) : null,
    ...timing(measured, traffic, bound),
    bytes_moved: traffic?.bytes ?? null,
    flops: traffic?.flops ?? null,
    bound_us: bound?.boundUs ?? null,
    max_rel_err: errorNorm(outcome),
    samples_discarded: outcome.status === 'ok' ? outcome.samplesDiscarded : null,
    energy_mj: outcome.status === 'ok' ? outcome.energyMj : null,
    status,
    reason,
    warnings: joinWarnings(input, index),
    repro_command: input.reproCommand(cell, candidate),
  };
}

/**
 * The rows of one cell, one per candidate in its order. Pure: time, device and ceilings come in as arguments.
 *
 * A candidate that is `ok` but kept none of its samples becomes a `failed` row, because a latency exists only on `ok`.
 *
 * @throws InternalError when the lists differ in length, an `ok` row lacks latency, error norm, bound or pct_of_bound,
 *   another row has a latency, or a number is not finite
 */
export function buildRows(input: BuildRowsInput): Row[] {
  const expected = input.cell.candidates.length;
  for (const name of ['summaries', 'traffic', 'bounds', 'extraWarnings'] as const) {
    const got = input[name]?.length ?? expected;
    if (got !== expected) {
      throw new InternalError(`Expected ${expected} entries for ${name} of ${input.cell.key}, got ${got}`);
    }
  }
  return input.cell.candidates.map((candidate, index) => {
    const outcome = input.outcome.candidates[index];
    if (outcome === undefined || input.outcome.candidates.length !== expected) {
      throw new InternalError(
        `Expected ${expected} candidates for the outcome of ${input.cell.key}, got ${input.outcome.candidates.length}`,
      );
    }
    return checkRow(buildRow(input, candidate, outcome, index));
  });
}

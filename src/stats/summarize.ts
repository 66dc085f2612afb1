import type { Cell } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import type { CandidateOk, CandidateOutcome, Outcome } from '../core/outcome.js';
import type { CandidateSummary, LatencySummary, SpeedupSummary } from '../core/summary.js';
import { medianInterval, streamSeed } from './bootstrap.js';
import { pairedSpeedup } from './paired.js';
import { median, quartiles } from './quantiles.js';

const EXACTLY_ONE: SpeedupSummary = { ratio: 1, ci: { low: 1, high: 1 } };

const kept = (values: readonly (number | null)[]): number[] => values.filter((v) => v !== null);

function checkSamples(kernel: string, samples: readonly number[]): void {
  const bad = samples.find((v) => !(Number.isFinite(v) && v > 0));
  if (bad !== undefined) {
    throw new InternalError(`Expected nanoseconds above 0 for a sample of ${kernel}, got ${bad}`);
  }
}

function summarizeLatency(samples: readonly number[], seed: number): LatencySummary {
  const { q1, median: medianNs, q3 } = quartiles(samples);
  return { numSamples: samples.length, medianNs, ci: medianInterval(samples, seed), q1Ns: q1, q3Ns: q3 };
}

/** A candidate that is ok and kept at least one sample. */
interface Measured {
  readonly outcome: CandidateOk;
  readonly latency: LatencySummary;
}

function measure(kernel: string, outcome: CandidateOutcome, seed: number): Measured | null {
  if (outcome.status !== 'ok') return null;
  const samples = kept(outcome.samplesNs);
  checkSamples(kernel, samples);
  return samples.length === 0 ? null : { outcome, latency: summarizeLatency(samples, seed) };
}

/** Index of the measured dense candidate with the lowest median, the first of equals; null when there is none. */
function baselineIndex(cell: Cell, measured: readonly (Measured | null)[]): number | null {
  let best: number | null = null;
  let bestNs = Infinity;
  measured.forEach((m, i) => {
    if (m === null || cell.candidates[i]?.variant !== 'dense' || m.latency.medianNs >= bestNs) return;
    best = i;
    bestNs = m.latency.medianNs;
  });
  return best;
}

/**
 * What the samples of a cell say: latency of each candidate and its speedup over the fastest dense one.
 *
 * @param seed integer; each candidate's bootstrap has a stream of its own (the even ones), so equal input gives equal
 *   output
 * @returns one entry per candidate, in order. null where it is not ok or kept no sample. The baseline's own speedup is
 *   exactly 1; speedup is null without a dense candidate that is ok, or without a round in common with it.
 * @throws InternalError when outcome and cell differ in length or a sample is not a positive number
 */
export function summarizeCell(cell: Cell, outcome: Outcome, seed: number): (CandidateSummary | null)[] {
  if (outcome.candidates.length !== cell.candidates.length) {
    throw new InternalError(
      `Expected ${cell.candidates.length} candidates for the outcome of ${cell.key}, got ${outcome.candidates.length}`,
    );
  }
  const measured = outcome.candidates.map((o, i) =>
    measure(cell.candidates[i]?.kernel ?? '', o, streamSeed(seed, 2 * i)),
  );
  const index = baselineIndex(cell, measured);
  const baseline = index === null ? null : (measured[index] ?? null);
  return measured.map((m) => {
    if (m === null) return null;
    const clocks = kept(m.outcome.clockMhz);
    return {
      latency: m.latency,
      speedup: speedupOver(baseline, m),
      baselineKernel: index === null ? null : (cell.candidates[index]?.kernel ?? null),
      medianClockMhz: clocks.length === 0 ? null : median(clocks),
    };
  });
}

function speedupOver(baseline: Measured | null, candidate: Measured): SpeedupSummary | null {
  if (baseline === null) return null;
  if (baseline === candidate) return EXACTLY_ONE;
  return pairedSpeedup(baseline.outcome.samplesNs, candidate.outcome.samplesNs);
}

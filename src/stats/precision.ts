import type { Outcome, StopReason } from '../core/outcome.js';
import type { CandidateSummary } from '../core/summary.js';
import { relativeHalfWidth } from './bootstrap.js';

const STOPPED_BY: Readonly<Record<StopReason, string | null>> = {
  precise: null,
  'max-time': 'stopped by --max-time',
  'max-samples': 'stopped by the limit on samples',
  cancelled: 'cancelled',
  'not-timed': null,
};

/** The larger relative half-width of a candidate's two 95 % intervals; 0.005 = 0.5 %. */
export function noiseReached(summary: CandidateSummary): number {
  const { latency, speedup } = summary;
  const ofLatency = relativeHalfWidth(latency.ci, latency.medianNs);
  return speedup === null ? ofLatency : Math.max(ofLatency, relativeHalfWidth(speedup.ci, speedup.ratio));
}

const percent = (share: number): string => `${Number((share * 100).toPrecision(2))} %`;

/**
 * Which limit ended the sampling of a cell and how precise each candidate is, as a warning for its row.
 *
 * @param maxNoise goal, relative half-width of the 95 % intervals; 0.005 = 0.5 %
 * @returns one entry per candidate; null where it has no summary or sampling ended because the goal was met
 */
export function precisionWarnings(
  outcome: Outcome,
  summaries: readonly (CandidateSummary | null)[],
  maxNoise: number,
): (string | null)[] {
  const stoppedBy = STOPPED_BY[outcome.stop];
  return summaries.map((summary) => {
    if (summary === null || stoppedBy === null) return null;
    const samples = summary.latency.numSamples;
    const noise = noiseReached(summary);
    const goal = noise > maxNoise ? `above the goal of ${percent(maxNoise)}` : `goal ${percent(maxNoise)}`;
    return `${stoppedBy} after ${samples} sample${samples === 1 ? '' : 's'}: noise ${percent(noise)}, ${goal}`;
  });
}

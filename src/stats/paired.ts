import type { SpeedupSummary } from '../core/summary.js';
import { relativeHalfWidth } from './bootstrap.js';
import { orderInterval } from './order-interval.js';
import { median } from './quantiles.js';

/** Samples of one candidate by sampling round; null where the round was discarded. Nanoseconds per run. */
export type RoundSamples = readonly (number | null)[];

/**
 * baseline_r / candidate_r of every round in which both were measured.
 * Pairing within a round cancels what both saw alike: clock, temperature, a neighbour's load.
 */
export function roundRatios(baseline: RoundSamples, candidate: RoundSamples): number[] {
  const ratios: number[] = [];
  const rounds = Math.min(baseline.length, candidate.length);
  for (let r = 0; r < rounds; r += 1) {
    const b = baseline[r] ?? null;
    const c = candidate[r] ?? null;
    if (b !== null && c !== null) ratios.push(b / c);
  }
  return ratios;
}

/**
 * Speedup of a candidate over the baseline: the median of the per-round ratios with its distribution-free interval.
 *
 * @param baseline, candidate index = sampling round; nanoseconds > 0, null = discarded
 * @returns null when no round has both
 */
export function pairedSpeedup(baseline: RoundSamples, candidate: RoundSamples): SpeedupSummary | null {
  const ratios = roundRatios(baseline, candidate);
  if (ratios.length === 0) return null;
  return { ratio: median(ratios), ci: orderInterval(ratios) };
}

/** What measuring the same kernel twice says about the instrument; goes to env.json. */
export interface AASpread extends SpeedupSummary {
  /** Rounds in which both were measured */
  readonly rounds: number;
  /** Half the width of the interval over the ratio; 0.005 = 0.5 % */
  readonly relativeSpread: number;
}

/**
 * The A/A ratio of one kernel sampled as two candidates. A sound instrument gives an interval that contains 1.
 *
 * @returns null when no round has both
 */
export function normalizeAA(samplesA: RoundSamples, samplesB: RoundSamples): AASpread | null {
  const speedup = pairedSpeedup(samplesA, samplesB);
  if (speedup === null) return null;
  return {
    ...speedup,
    rounds: roundRatios(samplesA, samplesB).length,
    relativeSpread: relativeHalfWidth(speedup.ci, speedup.ratio),
  };
}

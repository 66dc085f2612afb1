import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { InternalError } from '../core/errors.js';
import type { Interval } from '../core/summary.js';
import { quantile, sorted } from './quantiles.js';

/** Resamples of one interval: its end points then repeat to within a few per cent of its width. */
export const BOOTSTRAP_RESAMPLES = 2_000;
export const CONFIDENCE = 0.95;

const TWO_POW_32 = 2 ** 32;

/**
 * A seed for one of many independent streams (the finaliser of MurmurHash3 over seed and stream).
 * Neighbouring seeds start xoroshiro128+ in neighbouring states, so they are spread first.
 *
 * @param seed integer, only its low 32 bits count
 * @param stream integer >= 0, which of the streams of this seed
 */
export function streamSeed(seed: number, stream: number): number {
  let h = (seed ^ Math.imul(stream + 1, 0x9e3779b1)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) | 0;
}

/**
 * Median of one resample with replacement of n sorted values. Only how often each rank is drawn matters,
 * so the resample is counted and never sorted.
 */
function resampledMedian(ascending: Float64Array, counts: Uint32Array, random: RandomGenerator): number {
  const n = ascending.length;
  counts.fill(0);
  for (let i = 0; i < n; i += 1) {
    const rank = Math.floor(((random.next() >>> 0) * n) / TWO_POW_32);
    counts[rank] = (counts[rank] as number) + 1;
  }
  const lowerNeed = (n + 1) >> 1;
  const upperNeed = (n >> 1) + 1;
  let seen = 0;
  let rank = -1;
  while (seen < lowerNeed) seen += counts[++rank] as number;
  const lower = ascending[rank] as number;
  while (seen < upperNeed) seen += counts[++rank] as number;
  return (lower + (ascending[rank] as number)) / 2;
}

/**
 * Percentile bootstrap interval of the median (Efron 1979).
 *
 * @param values sample, at least one finite value, any unit and order
 * @param seed integer; the same values (in any order) and seed give the same interval
 * @param resamples how many resamples, >= 1
 * @returns the central 95 % of the resampled medians, unit of the values
 * @throws InternalError when there is no value or one is not finite
 */
export function medianInterval(
  values: readonly number[],
  seed: number,
  resamples: number = BOOTSTRAP_RESAMPLES,
): Interval {
  if (values.length === 0) throw new InternalError('Expected at least one value for a bootstrap, got none');
  const ascending = sorted(values);
  if (!ascending.every(Number.isFinite)) {
    throw new InternalError('Expected finite values for a bootstrap, got a value that is not');
  }
  const random = xoroshiro128plus(streamSeed(seed, 0));
  const counts = new Uint32Array(ascending.length);
  const medians = new Float64Array(resamples);
  for (let r = 0; r < resamples; r += 1) medians[r] = resampledMedian(ascending, counts, random);
  medians.sort();
  const tail = (1 - CONFIDENCE) / 2;
  return { low: quantile(medians, tail), high: quantile(medians, 1 - tail) };
}

/** Relative half-width of an interval around its centre: what `--max-noise` limits; 0.005 = 0.5 %. */
export function relativeHalfWidth(interval: Interval, centre: number): number {
  return (interval.high - interval.low) / (2 * centre);
}

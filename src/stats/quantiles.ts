import { quantileSorted } from 'simple-statistics';
import { InternalError } from '../core/errors.js';

/** Quartiles of one sample; same unit as the sample. */
export interface Quartiles {
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
}

/** A sorted copy, as typed numbers: a plain array would compare them as text. */
export function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).toSorted();
}

/**
 * Quantile of sorted values by linear interpolation (type 7 of Hyndman and Fan 1996, the default of R and NumPy).
 *
 * @param ascending at least one value, ascending
 * @param p probability in [0, 1]
 * @throws InternalError when there is no value or p is outside [0, 1]
 */
export function quantile(ascending: ArrayLike<number>, p: number): number {
  if (ascending.length === 0) throw new InternalError('Expected at least one value for quantile, got none');
  if (!(p >= 0 && p <= 1)) throw new InternalError(`Expected a probability in [0, 1] for p, got ${p}`);
  // simple-statistics only indexes and asks for the length; its type wants an Array.
  return quantileSorted(ascending as number[], p);
}

/** Median and quartiles (type 7). @throws InternalError when there is no value */
export function quartiles(values: readonly number[]): Quartiles {
  const ascending = sorted(values);
  return {
    q1: quantile(ascending, 0.25),
    median: quantile(ascending, 0.5),
    q3: quantile(ascending, 0.75),
  };
}

/** Median (type 7: the mean of the two middle values of an even count). @throws InternalError when there is no value */
export function median(values: readonly number[]): number {
  return quantile(sorted(values), 0.5);
}

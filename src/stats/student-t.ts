import { mean, sampleStandardDeviation } from 'simple-statistics';
import { InternalError } from '../core/errors.js';
import type { Interval } from '../core/summary.js';
import { studentQuantile, studentUpperTail } from './distributions.js';

/** A mean or a difference of means, with what it is worth. Unit of the values. */
export interface MeanTest {
  readonly mean: number;
  /** 95 % */
  readonly interval: Interval;
  /** One-sided, of mean > 0 */
  readonly pGreater: number;
  /** One-sided, of mean < 0 */
  readonly pLess: number;
}

const CONFIDENCE = 0.95;

function test(estimate: number, standardError: number, df: number): MeanTest {
  // Values without any spread: only 0 is compatible with 0.
  if (standardError === 0) {
    const p = { pGreater: estimate > 0 ? 0 : 1, pLess: estimate < 0 ? 0 : 1 };
    return { mean: estimate, interval: { low: estimate, high: estimate }, ...p };
  }
  const half = studentQuantile(df, CONFIDENCE) * standardError;
  const t = estimate / standardError;
  return {
    mean: estimate,
    interval: { low: estimate - half, high: estimate + half },
    pGreater: studentUpperTail(t, df),
    pLess: studentUpperTail(-t, df),
  };
}

function need(values: readonly number[], name: string): void {
  if (values.length >= 2 && values.every(Number.isFinite)) return;
  throw new InternalError(`Expected two finite values or more for ${name}, got ${values.length}`);
}

/**
 * One-sample Student t test against 0.
 *
 * @param values at least two, finite
 * @throws InternalError when there are fewer or one is not finite
 */
export function studentTest(values: readonly number[]): MeanTest {
  need(values, 'a t test');
  const n = values.length;
  return test(mean([...values]), sampleStandardDeviation([...values]) / Math.sqrt(n), n - 1);
}

/**
 * mean(head) - mean(base) of independent samples of unequal variance (Welch 1947).
 *
 * @param base, head at least two finite values each
 */
export function welchTest(base: readonly number[], head: readonly number[]): MeanTest {
  need(base, 'base of a t test');
  need(head, 'head of a t test');
  const part = (v: readonly number[]): number => sampleStandardDeviation([...v]) ** 2 / v.length;
  const [b, h] = [part(base), part(head)];
  const df = (b + h) ** 2 / (b ** 2 / (base.length - 1) + h ** 2 / (head.length - 1));
  return test(mean([...head]) - mean([...base]), Math.sqrt(b + h), df);
}

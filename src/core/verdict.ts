import type { Interval } from './summary.js';

export const VERDICTS = ['regressed', 'improved', 'same', 'inconclusive', 'missing', 'new'] as const;
/** What a gate says about one kernel in one cell; docs/ci.md has the rules. */
export type Verdict = (typeof VERDICTS)[number];

/** Something that was measured on one side or on both, with the gate's verdict. null = not available. */
export interface GateVerdict {
  /** What it is, as people read it; untrusted text */
  readonly title: string;
  readonly verdict: Verdict;
  /** head / base - 1: 0.03 = 3 % slower */
  readonly effect: number | null;
  /** 95 %, of the effect */
  readonly interval: Interval | null;
  /** One-sided, in the direction of the effect */
  readonly p: number | null;
  /** p corrected for the number of cells */
  readonly q: number | null;
  /** Median over runs or rounds, microseconds */
  readonly baseUs: number | null;
  readonly headUs: number | null;
  /** Runs (`compare`) or rounds (`ab`) behind the numbers */
  readonly baseRuns: number;
  readonly headRuns: number;
  /** Why there is no clearer verdict; null where it speaks for itself */
  readonly reason: string | null;
}

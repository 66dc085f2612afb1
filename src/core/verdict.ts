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

/** What one comparison found, for tables, files and CI. */
export interface GateReport {
  /** Relative slowdown that counts, 0.05 = 5 % */
  readonly threshold: number;
  readonly verdicts: readonly GateVerdict[];
  /** Untrusted text */
  readonly warnings: readonly string[];
}

/** How many cells have each verdict. */
export function countVerdicts(verdicts: readonly GateVerdict[]): Record<Verdict, number> {
  const counts = { regressed: 0, improved: 0, same: 0, inconclusive: 0, missing: 0, new: 0 };
  for (const v of verdicts) counts[v.verdict] += 1;
  return counts;
}

import type { Interval } from './summary.js';

/** What evaluating a claim of the paper gives: claims decides it, sinks write it, report shows it. */

export const CLAIM_VERDICTS = ['reproduced', 'exceeded', 'not reproduced', 'not measurable here'] as const;
export type ClaimVerdict = (typeof CLAIM_VERDICTS)[number];

export const CLAIM_SCALES = ['full', 'small'] as const;
/** `full`: the paper's shapes; `small`: shapes that two CPU cores measure in seconds. */
export type ClaimScale = (typeof CLAIM_SCALES)[number];

/** How a claim is decided; docs/claims.md has the rules. */
export const CLAIM_TESTS = [
  'number',
  'rising',
  'falling',
  'no-fall',
  'linear',
  'slower-than-dense',
  'crossing',
] as const;
export type ClaimTest = (typeof CLAIM_TESTS)[number];

export const CLAIM_AXES = ['batch', 'kv_len', 'density'] as const;
/** What varies along a claim's series. */
export type ClaimAxis = (typeof CLAIM_AXES)[number];

/** One point of a claim's series; null = not available. */
export interface ClaimPoint {
  /** Batch size, positions in the KV cache, or density as asked for */
  readonly x: number;
  readonly value: number | null;
  /** 95 %; null where the quantity has none */
  readonly interval: Interval | null;
  /** The paper's value at this x; null where it says none, or where another shape was measured */
  readonly paper: number | null;
  /** The same quantity if every kernel ran at its bound */
  readonly bound: number | null;
  /** Lines of rows.csv that the value comes from, 1 = header */
  readonly rows: readonly number[];
  /** Why there is no value */
  readonly reason: string | null;
}

/** A claim with its verdict. Texts are ours, except what a row's reason adds. */
export interface ClaimResult {
  readonly id: string;
  /** "Fig. 4a" */
  readonly figure: string;
  readonly statement: string;
  readonly scale: ClaimScale;
  /** "opt-66b, batch 64, N 1920"; empty where nothing is measured */
  readonly setting: string;
  readonly verdict: ClaimVerdict;
  /** Why it is not measurable, or what made the difference; null where the numbers speak for themselves */
  readonly reason: string | null;
  readonly test: ClaimTest | null;
  /** What `value` is: "speedup over the fastest dense at density 0.1" */
  readonly quantity: string;
  /** "x", "%", "us", "sequences" */
  readonly unit: string;
  readonly value: number | null;
  readonly interval: Interval | null;
  readonly paperValue: number | null;
  readonly paperSource: string;
  /** The same quantity at the physical bound of this machine; null where it has none */
  readonly bound: number | null;
  /** The bound lies under the paper's value: with the fastest dense baseline nobody can reach it */
  readonly boundUnderPaper: boolean;
  /** The ratio with attention/dense-per-query-head as the baseline; null where that was not measured */
  readonly slowBaseline: number | null;
  readonly axis: ClaimAxis;
  /** Title of the series' values: "speedup over the fastest dense" */
  readonly valueTitle: string;
  readonly points: readonly ClaimPoint[];
}

/** The share of a module in one decode step: what claims need of a line of breakdown.csv. */
export interface StepShare {
  readonly model: string;
  readonly batch_size: number;
  readonly kv_len: number | null;
  readonly kernel: string;
  readonly module: string;
  /** Fraction 0..1; the shares of a step sum to 1 */
  readonly share: number;
}

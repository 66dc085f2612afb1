import type { Cell, Scope, Variant } from './cell.js';

/** Something that was not planned, and why; a person reads this on stderr. */
export interface Exclusion {
  readonly model: string;
  readonly scope: Scope;
  readonly variant: Variant;
  readonly reason: string;
}

/** When sampling of a cell ends. */
export interface SamplingOptions {
  readonly minSamples: number;
  readonly maxSamples: number;
  /** Relative half-width of the 95 % intervals, 0.005 = 0.5 % */
  readonly maxNoise: number;
  /** Per cell, wins over minSamples */
  readonly maxTimeS: number;
  readonly warmup: number;
  readonly minSampleUs: number;
}

/** Everything a run will do, in order. */
export interface SweepPlan {
  readonly cells: readonly Cell[];
  readonly exclusions: readonly Exclusion[];
  readonly sampling: SamplingOptions;
  /** CPU threads; 0 = all that the process may use */
  readonly threads: number;
  /** Report the parts of each decode step */
  readonly breakdown: boolean;
}

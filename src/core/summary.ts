/** A 95 % interval. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Latency of one candidate in nanoseconds per run. */
export interface LatencySummary {
  readonly numSamples: number;
  readonly medianNs: number;
  readonly ci: Interval;
  readonly q1Ns: number;
  readonly q3Ns: number;
}

/** baseline / candidate, from the ratios of the same sampling rounds. */
export interface SpeedupSummary {
  readonly ratio: number;
  readonly ci: Interval;
}

/** What the samples of a candidate say; speedup is null where the cell has no dense candidate that is ok. */
export interface CandidateSummary {
  readonly latency: LatencySummary;
  readonly speedup: SpeedupSummary | null;
  readonly baselineKernel: string | null;
  readonly medianClockMhz: number | null;
}

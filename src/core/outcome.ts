import type { Cell } from './cell.js';

/** Why a candidate has no latency, or that it has one. A latency exists only on `ok`. */
export const STATUSES = ['ok', 'incorrect', 'failed', 'skipped'] as const;
export type Status = (typeof STATUSES)[number];

/** What verification found. */
export interface Verification {
  readonly passed: boolean;
  readonly maxAbsErr: number;
  /** max|error| / max|reference| */
  readonly maxRelErr: number;
  /** Largest share of its tolerance that an output row used; passes at <= 1. */
  readonly toleranceUsed: number;
  readonly rowsChecked: number;
  readonly rowsFailed: number;
  readonly worstRow: number | null;
  /** Repeated runs on the same inputs gave the same bits. */
  readonly repeatsEqual: boolean;
}

/** Time that one part of a decode step takes, measured inside the step. */
export interface StepPart {
  /** `attention`, `qkv`, `out-proj`, `mlp`, `routers` or `other` */
  readonly name: string;
  /** Nanoseconds per run */
  readonly ns: number;
}

export interface CandidateOk {
  readonly status: 'ok';
  readonly verification: Verification;
  /**
   * Nanoseconds per run, one entry per sampling round. Empty when timing was not asked for.
   * null where the round's sample was discarded, so that index = round for every candidate of the cell.
   */
  readonly samplesNs: readonly (number | null)[];
  /** SM clock at each sample; null where the device has none. Same length as samplesNs. */
  readonly clockMhz: readonly (number | null)[];
  readonly runsPerSample: number;
  readonly rotationCopies: number;
  readonly samplesDiscarded: number;
  /** Millijoule per run; null where there is no counter. */
  readonly energyMj: number | null;
  /** Layer and step: distinct layers (weights and KV) that runs cycle through; null in other scopes. */
  readonly residentLayers: number | null;
  /** Where a breakdown of a step was asked for; else null. */
  readonly parts: readonly StepPart[] | null;
  readonly warnings: readonly string[];
}

export interface CandidateIncorrect {
  readonly status: 'incorrect';
  readonly reason: string;
  readonly verification: Verification;
  readonly warnings: readonly string[];
}

export interface CandidateNotMeasured {
  readonly status: 'failed' | 'skipped';
  /** E_... for failed; null for skipped */
  readonly code: string | null;
  readonly reason: string;
  readonly warnings: readonly string[];
}

export type CandidateOutcome = CandidateOk | CandidateIncorrect | CandidateNotMeasured;

export const STOPS = ['precise', 'max-time', 'max-samples', 'cancelled', 'not-timed'] as const;
export type StopReason = (typeof STOPS)[number];

/** What measuring a cell gave; candidates in the order of the cell's. */
export interface Outcome {
  readonly candidates: readonly CandidateOutcome[];
  readonly stop: StopReason;
  readonly warnings: readonly string[];
}

/** One cell that is done: what was measured and when; enough to build its rows again. */
export interface CellRecord {
  readonly cell: Cell;
  readonly outcome: Outcome;
  /** When it was measured, ISO 8601 in UTC */
  readonly timestamp: string;
}

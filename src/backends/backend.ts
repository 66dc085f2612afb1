import type { BackendName, Cell, Dtype, IndexPattern } from '../core/cell.js';
import type { Ceilings, DeviceFacts } from '../core/environment.js';
import type { Outcome } from '../core/outcome.js';
import type { SamplingOptions } from '../core/plan.js';

/** Verify and time the candidates of a cell. */
export interface MeasureRequest {
  readonly cell: Cell;
  readonly sampling: SamplingOptions;
  /** CPU threads; 0 = all that the process may use */
  readonly threads: number;
  /** Report the parts of each decode step; nothing in other scopes */
  readonly breakdown: boolean;
}

/** Verify the candidates of a cell without timing: whole outputs, poisoned buffers, repeated runs bit by bit. */
export interface VerifyRequest {
  readonly cell: Cell;
  readonly threads: number;
  readonly indexPattern: IndexPattern;
  /** For `explicit` only; checked natively, never trusted */
  readonly indices: readonly number[] | null;
  /** Runs on the same inputs that must give the same bits */
  readonly repeats: number;
}

/** A sign of life while a call runs. */
export interface Progress {
  readonly phase: string;
  /** Share of the phase that is done, 0..1; null where unknown */
  readonly fraction: number | null;
}

/**
 * A device that measures. Calls run one at a time; a rejected promise is a PolarBenchError.
 * A failure that only concerns a cell comes back as an Outcome whose candidates are `failed`.
 */
export interface Backend {
  readonly name: BackendName;
  readonly device: number;
  /** Throws BackendUnavailableError saying what was tried and why it failed. */
  describe(): Promise<DeviceFacts>;
  listKernels(): Promise<readonly string[]>;
  measureCeilings(dtype: Dtype, threads: number): Promise<Ceilings>;
  measure(request: MeasureRequest, onProgress?: (progress: Progress) => void): Promise<Outcome>;
  verify(request: VerifyRequest, onProgress?: (progress: Progress) => void): Promise<Outcome>;
  /** Ends what runs, at once. */
  close(): Promise<void>;
}

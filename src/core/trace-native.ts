/** What the addon does for traces: the hot loops. Shapes are checked on both sides of the boundary. */

/** Element types of src/native/traces/bits.h, by number. */
export const TRACE_ELEMENTS = { mask: 0, f16: 1, bf16: 2, f32: 3 } as const;

export interface NativeUnionRequest {
  element: number;
  /** D */
  neurons: number;
  /** Rows in files; byte offsets from the start of the file */
  segments: { path: string; offset: number; tokens: number }[];
  /** Ascending, each in 1..tokens */
  batchSizes: number[];
  maxTrials: number;
  seed: number;
  /** 0 = all that the process may use */
  threads: number;
}

export interface NativeUnionResult {
  /** Active neurons of the union: mean and sample standard deviation over `trials` batches; std null below two */
  batches: { batchSize: number; trials: number; mean: number; std: number | null }[];
  tokens: number;
  bytesRead: number;
  /** Activations that were NaN; they count as inactive */
  nanValues: number;
}

export interface NativeDrawRequest {
  /** An existing file */
  path: string;
  /** Byte at which the masks of the layer begin */
  offset: number;
  tokens: number;
  /** [D] activation probabilities * 2^32 */
  thresholds: Uint32Array;
  /** Probability * 2^32 that a token takes its sequence's bit; 0 = independent tokens */
  shared: number;
  tokensPerSequence: number;
  seed: number;
  layer: number;
  threads: number;
}

/** Failures are errors with `.code` E_TRACE, E_CANCELLED, E_OUT_OF_MEMORY or E_NATIVE. */
export interface TraceNative {
  traceUnion(request: NativeUnionRequest): Promise<NativeUnionResult>;
  traceDraw(request: NativeDrawRequest): Promise<void>;
  /** Ends the calls under way with E_CANCELLED. */
  traceAbort(): void;
}

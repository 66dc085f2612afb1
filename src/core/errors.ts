/** What a user is told when something is wrong: one code, one sentence, one hint. */
export interface ErrorDetails {
  /** What to do about it. */
  hint?: string;
  cause?: unknown;
}

export type ErrorCode =
  | 'E_USAGE'
  | 'E_CONFIG'
  | 'E_PLAN'
  | 'E_BACKEND_UNAVAILABLE'
  | 'E_CUDA'
  | 'E_CUBLAS'
  | 'E_OUT_OF_MEMORY'
  | 'E_UNSUPPORTED'
  | 'E_NATIVE'
  | 'E_CRASHED'
  | 'E_HUNG'
  | 'E_SINK'
  | 'E_TRACE'
  | 'E_INTERNAL';

/** Process exit codes; docs/architecture.md says when each is used. */
export const EXIT = {
  ok: 0,
  failedCells: 1,
  usage: 2,
  backendUnavailable: 3,
  incorrect: 4,
  regressed: 5,
  inconclusive: 6,
  internal: 70,
  interrupted: 130,
} as const;

export class PolarBenchError extends Error {
  override readonly name: string = 'PolarBenchError';
  readonly hint: string | undefined;

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly exitCode: number,
    details: ErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.hint = details.hint;
  }
}

/** Wrong command line. Message grammar: `Expected <what> for <name>, got <value>`. */
export class UsageError extends PolarBenchError {
  override readonly name = 'UsageError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_USAGE', message, EXIT.usage, details);
  }
}

/** Wrong configuration or model file; the message names file and JSON pointer. */
export class ConfigError extends PolarBenchError {
  override readonly name = 'ConfigError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_CONFIG', message, EXIT.usage, details);
  }
}

/** A request that is well-formed but cannot be planned (a density that no candidate can meet, say). */
export class PlanError extends PolarBenchError {
  override readonly name = 'PlanError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_PLAN', message, EXIT.usage, details);
  }
}

export class BackendUnavailableError extends PolarBenchError {
  override readonly name = 'BackendUnavailableError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_BACKEND_UNAVAILABLE', message, EXIT.backendUnavailable, details);
  }
}

export type NativeErrorCode = Extract<
  ErrorCode,
  'E_CUDA' | 'E_CUBLAS' | 'E_OUT_OF_MEMORY' | 'E_UNSUPPORTED' | 'E_NATIVE' | 'E_CRASHED' | 'E_HUNG'
>;

/** A failure of the measuring side: costs the cell, not the sweep. */
export class NativeError extends PolarBenchError {
  override readonly name = 'NativeError';
  constructor(code: NativeErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, EXIT.failedCells, details);
  }
}

export class SinkError extends PolarBenchError {
  override readonly name = 'SinkError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_SINK', message, EXIT.failedCells, details);
  }
}

/** Missing or malformed input data; the message names file, tensor and offset. */
export class TraceError extends PolarBenchError {
  override readonly name = 'TraceError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_TRACE', message, EXIT.usage, details);
  }
}

/** A bug of polar-bench itself. */
export class InternalError extends PolarBenchError {
  override readonly name = 'InternalError';
  constructor(message: string, details?: ErrorDetails) {
    super('E_INTERNAL', message, EXIT.internal, details);
  }
}

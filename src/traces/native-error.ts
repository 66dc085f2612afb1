import { InternalError, NativeError, PolarBenchError, TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';

/** Turns what the addon rejects with into an error of ours; `about` names the tensor and file. */
export function traceFailure(cause: unknown, about: string): PolarBenchError {
  if (cause instanceof PolarBenchError) return cause;
  const message = cause instanceof Error ? cause.message : quoted(cause);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const text = `${message} (${about})`;
  if (code === 'E_TRACE') return new TraceError(text, { cause });
  if (code === 'E_OUT_OF_MEMORY' || code === 'E_NATIVE') return new NativeError(code, text, { cause });
  return new InternalError(text, { cause });
}

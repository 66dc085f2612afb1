import { closeSync, existsSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { PolarBenchError, SinkError, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { TraceNative } from '../core/trace-native.js';
import type { UnionLaw } from '../core/union.js';
import { drawProbabilities, layerGenerator, toThresholds } from './beta-draw.js';
import { traceFailure } from './native-error.js';
import { buildHeader, type TensorInfo } from './safetensors.js';

/** Tokens that share a sequence when nothing is said. */
export const TOKENS_PER_SEQUENCE = 256;

/** A trace to be drawn. */
export interface SyntheticTrace {
  readonly model: string;
  /** D */
  readonly intermediateSize: number;
  /** The law of each layer to write */
  readonly layers: readonly { readonly layer: number; readonly law: UnionLaw }[];
  readonly tokens: number;
  /**
   * R in [0, 1]: correlation of a neuron's activity between any two tokens of the same sequence. Every sequence draws one
   * bit per neuron with the neuron's probability p; a token takes that bit with probability sqrt(R), else draws afresh.
   * Two tokens share a bit with probability R, so their correlation is R, and every token's probability stays p. Tokens
   * of different sequences are independent: random batches over many sequences follow the law with a wider spread.
   */
  readonly correlation: number;
  readonly tokensPerSequence: number;
  readonly seed: number;
  /** 0 = all that the process may use */
  readonly threads: number;
}

function reserve(path: string, bytes: Uint8Array, fileBytes: number): void {
  const fd = openSync(path, 'wx');
  try {
    let done = 0;
    while (done < bytes.byteLength) done += writeSync(fd, bytes, done, bytes.byteLength - done, done);
    ftruncateSync(fd, fileBytes);
  } finally {
    closeSync(fd);
  }
}

function writeFailure(cause: unknown, path: string): PolarBenchError {
  if (cause instanceof PolarBenchError) return cause;
  const reason = cause instanceof Error ? cause.message : quoted(cause);
  return new SinkError(`Expected a writable file for --write-trace, got ${quoted(path, 200)}`, {
    hint: reason,
    cause,
  });
}

async function drawLayer(
  trace: SyntheticTrace,
  index: number,
  tensor: TensorInfo,
  path: string,
  native: TraceNative,
): Promise<void> {
  const entry = trace.layers[index];
  if (entry === undefined) return;
  const probabilities = drawProbabilities(
    entry.law,
    trace.intermediateSize,
    layerGenerator(trace.seed, entry.layer),
  );
  try {
    await native.traceDraw({
      path,
      offset: tensor.offset,
      tokens: trace.tokens,
      thresholds: toThresholds(probabilities),
      shared: Math.min(2 ** 32 - 1, Math.round(Math.sqrt(trace.correlation) * 2 ** 32)),
      tokensPerSequence: trace.tokensPerSequence,
      seed: trace.seed,
      layer: entry.layer,
      threads: trace.threads,
    });
  } catch (cause) {
    throw traceFailure(cause, tensor.name);
  }
}

/**
 * Writes a synthetic trace of bit masks: neurons' probabilities drawn from the law, tokens from the probabilities.
 *
 * The file appears under its name only when it is complete; memory stays below a few megabytes per thread.
 *
 * @param path must not exist
 * @param onLayer called after each layer with the layers done
 * @param signal ends the writing; the layer under way ends by `native.traceAbort()`
 * @returns bytes written
 * @throws UsageError when the file exists, SinkError when it cannot be written, TraceError for impossible sizes
 */
export async function writeSyntheticTrace(
  trace: SyntheticTrace,
  path: string,
  native: TraceNative,
  onLayer: (done: number) => void = () => {},
  signal?: AbortSignal,
): Promise<number> {
  if (existsSync(path)) {
    throw new UsageError(`Expected a new file for --write-trace, got ${quoted(path, 200)}`, {
      hint: 'It exists; remove it or choose another name.',
    });
  }
  const rowBytes = Math.ceil(trace.intermediateSize / 8);
  const header = buildHeader(
    trace.layers.map(({ layer }) => ({
      name: `layers.${layer}.mlp.active`,
      dtype: 'U8',
      shape: [trace.tokens, rowBytes],
    })),
    {
      model: trace.model,
      intermediate_size: String(trace.intermediateSize),
      generator: 'polar-bench union-sparsity --write-trace',
      seed: String(trace.seed),
      correlation: String(trace.correlation),
      tokens_per_sequence: String(trace.tokensPerSequence),
    },
  );
  const partial = `${path}.partial`;
  let reserved = false;
  try {
    reserve(partial, header.bytes, header.fileBytes);
    reserved = true;
    for (const [index, tensor] of header.tensors.entries()) {
      signal?.throwIfAborted();
      await drawLayer(trace, index, tensor, partial, native);
      onLayer(index + 1);
    }
    renameSync(partial, path);
  } catch (cause) {
    // Only what this call created is removed: a `.partial` that was there before belongs to someone else.
    if (reserved) rmSync(partial, { force: true });
    throw writeFailure(cause, path);
  }
  return header.fileBytes;
}

import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { TRACE_ELEMENTS, type NativeUnionResult, type TraceNative } from '../core/trace-native.js';
import type { MeasuredLayer, MeasuredUnion, UnionCurves } from '../core/union.js';
import { traceFailure } from './native-error.js';
import type { ElementType } from './safetensors.js';
import type { Trace, TraceLayer, TraceTensor } from './trace.js';

/** Batches per batch size when nothing is said; see src/native/traces/union.h on why there is a limit. */
export const DEFAULT_TRIALS = 512;

export interface UnionOptions {
  /** Ascending and distinct, from 1 */
  readonly batchSizes: readonly number[];
  /** Layers to measure; null: all that the trace has */
  readonly layers: readonly number[] | null;
  /** Most random batches per batch size above 1; B = 1 takes every token */
  readonly trials: number;
  readonly seed: number;
  /** 0 = all that the process may use */
  readonly threads: number;
}

const ELEMENTS: Partial<Record<ElementType, number>> = {
  U8: TRACE_ELEMENTS.mask,
  F16: TRACE_ELEMENTS.f16,
  BF16: TRACE_ELEMENTS.bf16,
  F32: TRACE_ELEMENTS.f32,
};

function place(tensor: TraceTensor): string {
  return `${tensor.name} of ${tensor.segments.map((s) => quoted(s.path, 200)).join(', ')}`;
}

function chooseLayers(trace: Trace, wanted: readonly number[] | null): TraceLayer[] {
  const layers = trace.layers.filter(
    (l) => l.activity !== null && (wanted === null || wanted.includes(l.layer)),
  );
  const missing = (wanted ?? []).find((n) => !layers.some((l) => l.layer === n));
  if (missing !== undefined || layers.length === 0) {
    const name = `layers.${missing ?? '<i>'}.mlp.active or mlp.activations`;
    throw new TraceError(`Expected ${name} for --trace, got none in ${quoted(trace.paths, 200)}`, {
      hint: `Layers with activations: ${trace.layers.filter((l) => l.activity !== null).length}.`,
    });
  }
  return layers;
}

function checkBatches(layers: readonly TraceLayer[], batchSizes: readonly number[]): void {
  const largest = Math.max(...batchSizes);
  for (const { activity } of layers) {
    if (activity !== null && largest > activity.tokens) {
      throw new TraceError(
        `Expected at most ${activity.tokens} (tokens of ${place(activity)}) for --batch, got ${largest}`,
        { hint: 'A batch takes every token at most once; the law predicts larger ones (--source law).' },
      );
    }
  }
}

function toLayer(layer: number, neurons: number, result: NativeUnionResult): MeasuredLayer {
  const warnings =
    result.nanValues === 0 ? [] : [`${result.nanValues} activations are NaN and count as inactive`];
  return {
    layer,
    tokens: result.tokens,
    warnings,
    points: result.batches.map((b) => ({
      batchSize: b.batchSize,
      density: b.mean / neurons,
      std: b.std === null ? null : b.std / neurons,
      trials: b.trials,
    })),
  };
}

/**
 * Measures the union of active neurons over random batches of a trace's tokens (Polar Sparsity App. B).
 *
 * The batches of one size share no token; all layers use the same batches. Memory stays below about 100 MB whatever the
 * size of the trace: layers are streamed one after the other.
 *
 * @param native the addon
 * @param onLayer called after each layer with the layers done and all
 * @throws TraceError for what is wrong with the trace or the batch sizes; the message names file and tensor
 */
export async function measureUnion(
  trace: Trace,
  options: UnionOptions,
  native: TraceNative,
  onLayer: (done: number, all: number) => void = () => {},
): Promise<MeasuredUnion> {
  const chosen = chooseLayers(trace, options.layers);
  checkBatches(chosen, options.batchSizes);
  const layers: MeasuredLayer[] = [];
  for (const { layer, activity } of chosen) {
    const element = activity === null ? undefined : ELEMENTS[activity.dtype];
    if (activity === null || element === undefined) continue;
    try {
      const result = await native.traceUnion({
        element,
        neurons: trace.intermediateSize,
        segments: activity.segments.map((s) => ({ path: s.path, offset: s.tensor.offset, tokens: s.tokens })),
        batchSizes: [...options.batchSizes],
        maxTrials: options.trials,
        seed: options.seed,
        threads: options.threads,
      });
      layers.push(toLayer(layer, trace.intermediateSize, result));
    } catch (cause) {
      throw traceFailure(cause, place(activity));
    }
    onLayer(layers.length, chosen.length);
  }
  return {
    model: trace.model,
    source: `trace:${trace.paths.map((p) => p.split('/').at(-1)).join(',')}`,
    intermediateSize: trace.intermediateSize,
    layers,
  };
}

/** The measured means as curves, for fitting a law to them. */
export function measuredCurves(measured: MeasuredUnion): UnionCurves {
  return {
    model: measured.model,
    source: measured.source,
    intermediateSize: measured.intermediateSize,
    batchSizes: measured.layers[0]?.points.map((p) => p.batchSize) ?? [],
    layers: measured.layers.map(({ layer, points }) => ({ layer, points })),
  };
}

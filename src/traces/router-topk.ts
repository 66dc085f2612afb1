import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { addLogits, RecallCurve } from '../theory/routing.js';
import { randomBatches } from './batches.js';
import { RowReader } from './rows.js';
import type { Trace, TraceTensor } from './trace.js';

/** Batches per batch size when nothing is said; logits are two orders of magnitude larger than masks. */
export const DEFAULT_TOPK_TRIALS = 64;

export interface TopkOptions {
  readonly batchSizes: readonly number[];
  /** null: all layers that have router logits and activity */
  readonly layers: readonly number[] | null;
  /** Recall to reach, (0, 1] */
  readonly recall: number;
  /** Where the greedy search starts and how far it moves, >= 1 */
  readonly start: number;
  readonly step: number;
  readonly trials: number;
  readonly seed: number;
}

export interface LayerTopk {
  readonly layer: number;
  readonly batchSize: number;
  /** Smallest k that meets the recall */
  readonly exactK: number;
  /** k of the greedy search (Polar Sparsity Alg. 2) */
  readonly greedyK: number;
  /** Mean recall at exactK, 0..1 */
  readonly recall: number;
  readonly batches: number;
}

/** Sets active[j] where the token activates neuron j. */
function addActive(active: Uint8Array, reader: RowReader, token: number, floats: Float32Array): void {
  if (reader.tensor.dtype !== 'U8') {
    reader.floats(token, floats);
    for (let j = 0; j < active.length; j++) if (floats[j]! > 0) active[j] = 1;
    return;
  }
  const mask = reader.bytes(token);
  const lastBits = active.length % 8;
  if (lastBits !== 0 && (mask[mask.length - 1] ?? 0) >> lastBits !== 0) {
    throw new TraceError(
      `Expected no bit set past neuron ${active.length - 1} for token ${token} of ${reader.tensor.name}, got some`,
    );
  }
  for (let k = 0; k < mask.length; k++) {
    // Most bytes of a sparse mask are 0; otherwise visit the bits that are set.
    for (let byte = mask[k]!; byte !== 0; byte &= byte - 1) active[8 * k + 31 - Math.clz32(byte & -byte)] = 1;
  }
}

/** One layer, one batch size. */
function measureCurve(activity: RowReader, logits: RowReader, batches: readonly Uint32Array[]): RecallCurve {
  const neurons = logits.tensor.columns;
  const curve = new RecallCurve(neurons);
  const row = new Float32Array(neurons);
  for (const batch of batches) {
    const scores = new Float64Array(neurons);
    const active = new Uint8Array(neurons);
    for (const token of batch) {
      logits.floats(token, row);
      addLogits(scores, row, batch.length);
      addActive(active, activity, token, row);
    }
    curve.addBatch(scores, active);
  }
  return curve;
}

interface RoutedLayer {
  readonly layer: number;
  readonly activity: TraceTensor;
  readonly routerLogits: TraceTensor;
}

function routedLayers(trace: Trace, options: TopkOptions): RoutedLayer[] {
  const routed = trace.layers.flatMap(({ layer, activity, routerLogits }) =>
    activity !== null && routerLogits !== null ? [{ layer, activity, routerLogits }] : [],
  );
  const chosen = routed.filter((l) => options.layers === null || options.layers.includes(l.layer));
  const missing = (options.layers ?? []).find((n) => !routed.some((l) => l.layer === n));
  if (missing !== undefined || chosen.length === 0) {
    throw new TraceError(
      `Expected layers.${missing ?? '<i>'}.mlp.router_logits beside activations for --trace, got none in ${quoted(trace.paths, 200)}`,
      { hint: 'Alg. 2 compares what a router selects with what was active; the trace must hold both.' },
    );
  }
  const largest = Math.max(...options.batchSizes);
  const short = chosen.find((l) => l.activity.tokens < largest);
  if (short !== undefined) {
    throw new TraceError(
      `Expected at most ${short.activity.tokens} (tokens of ${short.activity.name}) for --batch, got ${largest}`,
    );
  }
  return chosen;
}

/**
 * Smallest k per layer and batch size at which a router's top-k recalls the active neurons (Polar Sparsity Alg. 2), exact
 * and by the greedy search. All layers use the same random batches.
 *
 * @param onLayer called after each layer with the layers done and all
 * @throws TraceError when the trace lacks logits or activity, or a batch is larger than the trace
 */
export function measureTopk(
  trace: Trace,
  options: TopkOptions,
  onLayer: (done: number, all: number) => void = () => {},
): LayerTopk[] {
  const layers = routedLayers(trace, options);
  const out: LayerTopk[] = [];
  for (const [done, { layer, activity, routerLogits }] of layers.entries()) {
    const readers = [new RowReader(activity), new RowReader(routerLogits)] as const;
    try {
      for (const batchSize of options.batchSizes) {
        const batches = randomBatches(activity.tokens, batchSize, options.trials, options.seed);
        const curve = measureCurve(...readers, batches);
        const exactK = curve.smallestK(options.recall);
        out.push({
          layer,
          batchSize,
          exactK,
          greedyK: curve.greedyK(options.recall, options.start, options.step),
          recall: curve.recall(exactK),
          batches: curve.batches,
        });
      }
    } finally {
      for (const reader of readers) reader.close();
    }
    onLayer(done + 1, layers.length);
  }
  return out;
}

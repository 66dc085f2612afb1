import type { BackendName } from '../core/cell.js';
import type { ModelShape } from '../core/model-shape.js';
import { type CaseShape, counts, CUDA_HEAD_DIMS, KV_HEADS, NEURONS, shape } from './verify-shapes.js';

/** Shapes of routers, layers and steps. Their kernels choose by their own scores: there is no index pattern to vary. */

const BATCHES = [1, 3, 8, 17, 65];
/** N counts the new token, so 1 is a sequence that has nothing cached yet. */
const KV_LENS = [1, 63, 64, 65, 130];
const LAYERS = 3;

const OPT: Partial<ModelShape> = { family: 'opt', activation: 'relu', gated: false, mlpBias: true };
/** Multi-head and grouped attention, with every combination of biases that a family has. */
const BLOCKS: readonly Partial<ModelShape>[] = [
  { ...OPT, headDim: 64 },
  { numQoHeads: KV_HEADS, headDim: 128 },
  { numQoHeads: 4 * KV_HEADS, headDim: 64, qkvBias: true },
  { numQoHeads: 6 * KV_HEADS, headDim: 96, ropeTheta: 500_000, normEpsilon: 1e-6 },
];

/** The layers of CUDA take neurons in eights, as every model has them; the count is still odd in eights. */
const inEights = (backend: BackendName, neurons: number): number =>
  backend === 'cuda' ? 8 * Math.ceil(neurons / 8) : neurons;

/** Each block at each batch size; lengths and widths run along. */
export function layerEdges(scope: 'layer' | 'step', backend: BackendName): CaseShape[] {
  const intermediateSize = inEights(backend, NEURONS);
  return BLOCKS.flatMap((block, k) =>
    BATCHES.map((batchSize, b) => ({
      model: shape({
        ...block,
        hiddenSize: b % 2 === 0 ? 136 : 64,
        intermediateSize,
        numLayers: scope === 'step' ? LAYERS : 1,
        vocabSize: NEURONS,
      }),
      scope,
      batchSize,
      kvLen: KV_LENS[(b + k) % KV_LENS.length] ?? 1,
      pattern: 'random' as const,
      groups: counts(KV_HEADS),
      neurons: counts(intermediateSize),
    })),
  );
}

/** Widths below, at and above the 1024 columns between the MLP router's matrices, many and few neurons and groups. */
export function routerEdges(): CaseShape[] {
  const sizes: readonly (readonly [hiddenSize: number, neurons: number, kvHeads: number])[] = [
    [64, NEURONS, KV_HEADS],
    [136, 1, 1],
    [1032, 2053, 72],
  ];
  return sizes.flatMap(([hiddenSize, intermediateSize, numKvHeads]) =>
    BATCHES.map((batchSize) => ({
      model: shape({ hiddenSize, intermediateSize, numKvHeads, numQoHeads: numKvHeads }),
      scope: 'router' as const,
      batchSize,
      kvLen: null,
      pattern: 'random' as const,
      groups: counts(numKvHeads),
      neurons: counts(intermediateSize),
    })),
  );
}

/** Draws of a seeded generator. */
interface Draw {
  readonly between: (low: number, high: number) => number;
  readonly pick: <T>(list: readonly T[]) => T;
}

export function randomRouter({ between }: Draw): CaseShape {
  const numKvHeads = between(1, 80);
  const intermediateSize = between(1, 3000);
  return {
    model: shape({ hiddenSize: 8 * between(1, 150), intermediateSize, numKvHeads, numQoHeads: numKvHeads }),
    scope: 'router',
    batchSize: between(1, 130),
    kvLen: null,
    pattern: 'random',
    groups: [between(1, numKvHeads)],
    neurons: [between(1, intermediateSize)],
  };
}

export function randomLayer(
  scope: 'layer' | 'step',
  backend: BackendName,
  { between, pick }: Draw,
): CaseShape {
  const opt = pick([true, false]);
  const numKvHeads = between(1, 6);
  const intermediateSize = inEights(backend, between(1, 300));
  const model = shape({
    ...(opt ? OPT : { qkvBias: pick([true, false]) }),
    numKvHeads,
    numQoHeads: numKvHeads * (opt ? 1 : pick([1, 2, 4, 6])),
    headDim: backend === 'cuda' ? pick(CUDA_HEAD_DIMS) : 8 * between(1, 16),
    hiddenSize: 8 * between(1, 40),
    intermediateSize,
    numLayers: scope === 'step' ? between(1, 4) : 1,
    vocabSize: between(1, 300),
  });
  return {
    model,
    scope,
    batchSize: between(1, 40),
    kvLen: between(1, 200),
    pattern: 'random',
    groups: [between(1, numKvHeads)],
    neurons: [between(1, intermediateSize)],
  };
}

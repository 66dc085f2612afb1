import type { Kernel } from '../core/catalog.js';
import { activeGroups, DTYPE_BYTES, type Candidate } from '../core/cell.js';
import { InternalError } from '../core/errors.js';
import { mlpRouterRank, type ModelShape } from '../core/model-shape.js';
import {
  attentionCounts,
  attentionFlops,
  downWeights,
  INDEX_BYTES,
  neuronCount,
  type TrafficProblem,
  upWeights,
  type Work,
} from './work.js';

/** Scores of routers are float32. */
const SCORE_BYTES = 4;
/** The greedy token of a sequence is an int32. */
const TOKEN_BYTES = 4;

/**
 * A router alone: the normed input and the router's matrices in; scores and the chosen set out.
 * @throws InternalError when the candidate lacks its count
 */
export function routerWork(
  { model, batchSize: b }: TrafficProblem,
  candidate: Candidate,
  kernel: Kernel,
): Work {
  const heads = kernel.selects === 'heads';
  const groups = activeGroups(model, candidate);
  if (heads && groups === null) {
    throw new InternalError(`Expected activeHeads for a router of heads, got null (${candidate.kernel})`);
  }
  const weights = heads ? attentionRouterWeights(model) : mlpRouterWeights(model);
  const scores = heads ? b * model.numKvHeads : model.intermediateSize;
  const indices = heads ? b * (groups ?? 0) : neuronCount(candidate);
  return {
    activations: b * model.hiddenSize * DTYPE_BYTES,
    kvCache: 0,
    weights: weights * DTYPE_BYTES,
    indices: 0,
    written: scores * SCORE_BYTES + indices * INDEX_BYTES,
    flops: 2 * b * weights,
  };
}

/** What one layer computes: its selection, and which of its two routers run. */
interface LayerChoice {
  readonly heads: number;
  readonly neurons: number;
  readonly routesHeads: boolean;
  readonly routesNeurons: boolean;
}

/**
 * One transformer layer of a decode step: x in, out out, the new key and value of every KV head written. What passes from
 * one kernel to the next (q, scores, index sets, hidden activations) never has to leave the chip and is not counted.
 * @throws InternalError when the candidate lacks heads, neurons or N
 */
export function layerWork(problem: TrafficProblem, candidate: Candidate, kernel: Kernel): Work {
  const { model, batchSize: b } = problem;
  const { heads } = attentionCounts(problem, candidate);
  const choice = { heads, neurons: neuronCount(candidate), ...routing(kernel) };
  const inside = insideLayer(problem, candidate, choice);
  const x = b * model.hiddenSize * DTYPE_BYTES;
  return { ...inside, activations: x, indices: 0, written: inside.written + x };
}

/**
 * A whole decode step: the embedded tokens in; logits and greedy tokens out; every layer's weights and KV between. Layer
 * 0 computes all heads and has no attention router.
 * @throws InternalError when the candidate lacks heads, neurons or N, or names another number of layers
 */
export function stepWork(problem: TrafficProblem, candidate: Candidate, kernel: Kernel): Work {
  const { model, batchSize: b } = problem;
  const { heads } = attentionCounts(problem, candidate);
  const neurons = layerNeurons(model, candidate);
  const routed = routing(kernel);
  const layers = neurons.map((count, layer) =>
    insideLayer(problem, candidate, {
      heads: layer === 0 ? model.numQoHeads : heads,
      neurons: count,
      routesHeads: routed.routesHeads && layer > 0,
      routesNeurons: routed.routesNeurons,
    }),
  );
  const total = (key: keyof InsideLayer): number => layers.reduce((sum, layer) => sum + layer[key], 0);
  const head = model.vocabSize * model.hiddenSize;
  return {
    activations: b * model.hiddenSize * DTYPE_BYTES,
    kvCache: total('kvCache'),
    weights: total('weights') + (head + normWeights(model)) * DTYPE_BYTES,
    indices: 0,
    written: total('written') + b * (model.vocabSize * DTYPE_BYTES + TOKEN_BYTES),
    flops: total('flops') + 2 * b * head,
  };
}

type InsideLayer = Pick<Work, 'kvCache' | 'weights' | 'written' | 'flops'>;

/** A layer without its input and output activations, which pass on chip from layer to layer. */
function insideLayer(problem: TrafficProblem, candidate: Candidate, choice: LayerChoice): InsideLayer {
  const { model, batchSize: b } = problem;
  const { kvLen } = attentionCounts(problem, candidate);
  const groups = choice.heads / (model.numQoHeads / model.numKvHeads);
  const projections = projectionWeights(model);
  const routers =
    (choice.routesHeads ? attentionRouterWeights(model) : 0) +
    (choice.routesNeurons ? mlpRouterWeights(model) : 0);
  const products = choice.neurons * model.hiddenSize * (model.gated ? 3 : 2);
  return {
    // The new position is computed here and written, not read.
    kvCache: 2 * b * groups * (kvLen - 1) * model.headDim * DTYPE_BYTES,
    weights:
      (2 * normWeights(model) +
        projections +
        projectionBiases(model) +
        upWeights(model, choice.neurons) +
        downWeights(model, choice.neurons) +
        routers) *
      DTYPE_BYTES,
    written: 2 * b * model.numKvHeads * model.headDim * DTYPE_BYTES,
    flops: attentionFlops(model, b, choice.heads, kvLen) + 2 * b * (projections + products + routers),
  };
}

const routing = ({ selects }: Kernel): Pick<LayerChoice, 'routesHeads' | 'routesNeurons'> => ({
  routesHeads: selects === 'heads' || selects === 'both',
  routesNeurons: selects === 'neurons' || selects === 'both',
});

function layerNeurons(model: ModelShape, candidate: Candidate): readonly number[] {
  const { layerActiveNeurons: list } = candidate;
  if (list === null) return Array.from({ length: model.numLayers }, () => neuronCount(candidate));
  if (list.length === model.numLayers) return list;
  throw new InternalError(
    `Expected ${model.numLayers} layers of neurons, got ${list.length} (${candidate.kernel})`,
  );
}

/** Elements of Wqkv and Wo. */
function projectionWeights(model: ModelShape): number {
  const qkv = (model.numQoHeads + 2 * model.numKvHeads) * model.headDim;
  return (qkv + model.numQoHeads * model.headDim) * model.hiddenSize;
}

function projectionBiases(model: ModelShape): number {
  const qkv = (model.numQoHeads + 2 * model.numKvHeads) * model.headDim;
  return (model.qkvBias ? qkv : 0) + (model.outBias ? model.hiddenSize : 0);
}

/** Scale of a norm, and the bias that a LayerNorm (family opt) has. */
function normWeights(model: ModelShape): number {
  return model.hiddenSize * (model.family === 'opt' ? 2 : 1);
}

/** Elements of the attention router, `[H_kv, d]`. */
function attentionRouterWeights(model: ModelShape): number {
  return model.numKvHeads * model.hiddenSize;
}

/** Elements of both matrices of the MLP router, `[rank, d]` and `[D, rank]`. */
function mlpRouterWeights(model: ModelShape): number {
  return mlpRouterRank(model) * (model.hiddenSize + model.intermediateSize);
}

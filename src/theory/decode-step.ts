import { activeCount, DTYPE_BYTES, type Candidate, type Variant } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import { groupSize, type ModelShape } from '../core/model-shape.js';
import { boundOf } from './roofline.js';
import { trafficOf } from './traffic.js';

/** Width of the MLP router's hidden layer: d -> 1024 -> D (Polar Sparsity, appendix C). */
export const MLP_ROUTER_WIDTH = 1024;

/** What a predicted step computes. */
export interface StepDensities {
  /** Share of heads or KV groups in every layer but the first, (0, 1] */
  readonly heads: number;
  /** Share of neurons, mean over layers, (0, 1]; null: the MLP has no sparse variant */
  readonly mlp: number | null;
}

/** Shortest time of the parts of one decode step over all layers, microseconds. */
export interface StepPrediction {
  readonly qkvUs: number;
  readonly attentionUs: number;
  readonly outProjUs: number;
  readonly mlpUs: number;
  readonly routersUs: number;
  readonly totalUs: number;
}

type Roofs = Pick<Ceilings, 'readGbPerS' | 'matrixTflopPerS'>;

/** Weights once, input and output of every sequence once. */
function linearUs(batch: number, from: number, to: number, roofs: Roofs): number {
  const bytesMoved = (from * to + batch * (from + to)) * DTYPE_BYTES;
  return boundOf({ bytesMoved, flops: 2 * batch * from * to }, roofs).boundUs;
}

function attentionUs(
  model: ModelShape,
  b: number,
  kvLen: number,
  density: number | null,
  roofs: Roofs,
): number {
  const groups = density === null ? model.numKvHeads : activeCount(density, model.numKvHeads);
  const candidate: Candidate = {
    kernel: density === null ? 'attention/dense' : 'attention/selective-head',
    variant: density === null ? 'dense' : 'head-sparse',
    activeHeads: groups * groupSize(model),
    activeNeurons: null,
    densitySource: 'prediction',
  };
  return boundOf(trafficOf({ model, scope: 'attention', batchSize: b, kvLen }, candidate), roofs).boundUs;
}

function mlpUs(model: ModelShape, b: number, density: number | null, roofs: Roofs): number {
  const candidate: Candidate = {
    kernel: density === null ? 'mlp/dense' : 'mlp/selective',
    variant: density === null ? 'dense' : 'mlp-sparse',
    activeHeads: null,
    activeNeurons: activeCount(density ?? 1, model.intermediateSize),
    densitySource: 'prediction',
  };
  return boundOf(trafficOf({ model, scope: 'mlp', batchSize: b, kvLen: null }, candidate), roofs).boundUs;
}

function routersUs(model: ModelShape, b: number, heads: boolean, mlp: boolean, roofs: Roofs): number {
  const attention = heads ? linearUs(b, model.hiddenSize, model.numKvHeads, roofs) : 0;
  if (!mlp) return attention;
  return (
    attention +
    linearUs(b, model.hiddenSize, MLP_ROUTER_WIDTH, roofs) +
    linearUs(b, MLP_ROUTER_WIDTH, model.intermediateSize, roofs)
  );
}

/**
 * The shortest possible decode step of a variant: every part at its roofline, one after the other, over all layers.
 * Attention of the first layer stays dense, as the paper has it; norms, positions, selection and the language-model head
 * are not counted. No kernel is this fast, so only ratios of predictions say something.
 *
 * @param batchSize B
 * @param kvLen N
 * @param densities what the sparse parts compute; a variant takes what it needs
 * @param roofs ceilings of the device, 10^9 bytes/s and 10^12 operations/s
 * @returns null for a variant that the model does not have (a sparse MLP without a density)
 */
export function predictStep(
  model: ModelShape,
  variant: Variant,
  batchSize: number,
  kvLen: number,
  densities: StepDensities,
  roofs: Roofs,
): StepPrediction | null {
  const sparseHeads = variant === 'head-sparse' || variant === 'polar';
  const mlpDensity = variant === 'mlp-sparse' || variant === 'polar' ? densities.mlp : null;
  // polar without a sparse MLP is head sparsity alone, as the paper runs it on gated models.
  if (variant === 'mlp-sparse' && mlpDensity === null) return null;
  const layers = model.numLayers;
  const qWidth = model.numQoHeads * model.headDim;
  const kvWidth = model.numKvHeads * model.headDim;
  const denseAttention = attentionUs(model, batchSize, kvLen, null, roofs);
  const sparseAttention = sparseHeads
    ? attentionUs(model, batchSize, kvLen, densities.heads, roofs)
    : denseAttention;
  const parts = {
    qkvUs: layers * linearUs(batchSize, model.hiddenSize, qWidth + 2 * kvWidth, roofs),
    attentionUs: denseAttention + (layers - 1) * sparseAttention,
    outProjUs: layers * linearUs(batchSize, qWidth, model.hiddenSize, roofs),
    mlpUs: layers * mlpUs(model, batchSize, mlpDensity, roofs),
    routersUs: layers * routersUs(model, batchSize, sparseHeads, mlpDensity !== null, roofs),
  };
  return { ...parts, totalUs: Object.values(parts).reduce((sum, us) => sum + us, 0) };
}

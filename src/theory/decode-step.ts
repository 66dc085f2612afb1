import { activeCount, type Candidate, DTYPE_BYTES, type Variant } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import { groupSize, type ModelShape } from '../core/model-shape.js';
import { boundOf } from './roofline.js';
import { trafficOf } from './traffic.js';
import type { TrafficProblem } from './work.js';

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

/** One kernel of one layer at its bound. */
function kernelUs(
  problem: TrafficProblem,
  kernel: string,
  counts: Pick<Candidate, 'activeHeads' | 'activeNeurons'>,
  roofs: Roofs,
): number {
  const about = { variant: 'dense', layerActiveNeurons: null, densitySource: 'prediction' } as const;
  return boundOf(trafficOf(problem, { ...about, ...counts, kernel }), roofs).boundUs;
}

/** What one layer of a variant computes; null: everything, without a router. */
interface LayerChoice {
  readonly heads: number | null;
  readonly neurons: number | null;
}

function layerUs(
  model: ModelShape,
  batchSize: number,
  kvLen: number,
  choice: LayerChoice,
  roofs: Roofs,
): Pick<StepPrediction, 'attentionUs' | 'mlpUs' | 'routersUs'> {
  const problem = { model, batchSize, kvLen: null };
  const heads = { activeHeads: choice.heads ?? model.numQoHeads, activeNeurons: null };
  const neurons = { activeHeads: null, activeNeurons: choice.neurons ?? model.intermediateSize };
  const router = { ...problem, scope: 'router' } as const;
  const attention = { ...problem, scope: 'attention', kvLen } as const;
  const attentionKernel = choice.heads === null ? 'attention/dense' : 'attention/selective-head';
  const mlpKernel = choice.neurons === null ? 'mlp/dense' : 'mlp/selective';
  return {
    attentionUs: kernelUs(attention, attentionKernel, heads, roofs),
    mlpUs: kernelUs({ ...problem, scope: 'mlp' }, mlpKernel, neurons, roofs),
    routersUs:
      (choice.heads === null ? 0 : kernelUs(router, 'router/attention-topk', heads, roofs)) +
      (choice.neurons === null ? 0 : kernelUs(router, 'router/mlp-topk', neurons, roofs)),
  };
}

/**
 * The shortest possible decode step of a variant: every part at its roofline, one after the other, over all layers.
 * The first layer keeps dense attention and has no attention router, as the paper has it; norms, positions, selection and the language-model head
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
  const heads = sparseHeads ? activeCount(densities.heads, model.numKvHeads) * groupSize(model) : null;
  const neurons = mlpDensity === null ? null : activeCount(mlpDensity, model.intermediateSize);
  const first = layerUs(model, batchSize, kvLen, { heads: null, neurons }, roofs);
  const other = layerUs(model, batchSize, kvLen, { heads, neurons }, roofs);
  const all = (key: keyof typeof first): number => first[key] + (layers - 1) * other[key];
  const qWidth = model.numQoHeads * model.headDim;
  const kvWidth = model.numKvHeads * model.headDim;
  const parts = {
    qkvUs: layers * linearUs(batchSize, model.hiddenSize, qWidth + 2 * kvWidth, roofs),
    attentionUs: all('attentionUs'),
    outProjUs: layers * linearUs(batchSize, qWidth, model.hiddenSize, roofs),
    mlpUs: all('mlpUs'),
    routersUs: all('routersUs'),
  };
  return { ...parts, totalUs: Object.values(parts).reduce((sum, us) => sum + us, 0) };
}

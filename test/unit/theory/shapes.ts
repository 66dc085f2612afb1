import type { Candidate } from '../../../src/core/cell.js';
import { blockDefaults, type ModelShape } from '../../../src/core/model-shape.js';

/** A shape that is small enough to count by hand: d = 16, D = 40, MHA with 4 heads of 8, MLP with biases. */
export const MHA: ModelShape = {
  name: 'by-hand',
  family: 'opt',
  numLayers: 1,
  hiddenSize: 16,
  intermediateSize: 40,
  numQoHeads: 4,
  numKvHeads: 4,
  headDim: 8,
  vocabSize: 100,
  activation: 'relu',
  gated: false,
  mlpBias: true,
  ...blockDefaults('opt'),
  criticalHeadDensity: null,
  defaultMlpDensity: null,
  referenceKvLen: null,
  source: 'test',
};

/** 8 query heads in 2 groups of 4, d_h = 16, gated MLP without biases. */
export const GQA: ModelShape = {
  ...MHA,
  family: 'llama',
  numQoHeads: 8,
  numKvHeads: 2,
  headDim: 16,
  activation: 'silu',
  gated: true,
  mlpBias: false,
  ...blockDefaults('llama'),
};

export function candidate(
  kernel: string,
  activeHeads: number | null,
  activeNeurons: number | null,
): Candidate {
  return {
    kernel,
    variant: 'dense',
    activeHeads,
    activeNeurons,
    layerActiveNeurons: null,
    densitySource: 'test',
  };
}

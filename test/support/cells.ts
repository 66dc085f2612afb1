import { type Candidate, type Cell, cellKey } from '../../src/core/cell.js';
import { blockDefaults, type ModelShape } from '../../src/core/model-shape.js';

/** 8 query heads in 4 groups, d_h 64; d 512, D 1024, SwiGLU. */
export function shape(overrides: Partial<ModelShape> = {}): ModelShape {
  return {
    name: 'test-model',
    family: 'llama',
    numLayers: 2,
    hiddenSize: 512,
    intermediateSize: 1024,
    numQoHeads: 8,
    numKvHeads: 4,
    headDim: 64,
    vocabSize: 1000,
    activation: 'silu',
    gated: true,
    mlpBias: false,
    ...blockDefaults('llama'),
    criticalHeadDensity: null,
    referenceKvLen: null,
    defaultMlpDensity: null,
    source: 'test',
    ...overrides,
  };
}

export function candidate(overrides: Partial<Candidate> = {}): Candidate {
  return {
    kernel: 'attention/dense',
    variant: 'dense',
    activeHeads: 8,
    activeNeurons: null,
    layerActiveNeurons: null,
    densitySource: 'dense',
    ...overrides,
  };
}

export const selectiveHead = (activeHeads: number): Candidate =>
  candidate({
    kernel: 'attention/selective-head',
    variant: 'head-sparse',
    activeHeads,
    densitySource: 'flag',
  });

export function cell(overrides: Partial<Omit<Cell, 'key'>> = {}): Cell {
  const withoutKey = {
    model: shape(),
    backend: 'cpu' as const,
    device: 0,
    scope: 'attention' as const,
    batchSize: 2,
    kvLen: 100,
    dtype: 'bf16' as const,
    cacheMode: 'cold' as const,
    seed: 1,
    candidates: [candidate(), selectiveHead(4)],
    ...overrides,
  };
  return { ...withoutKey, key: cellKey(withoutKey) };
}

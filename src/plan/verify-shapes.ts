import { kernelsFor } from '../core/catalog.js';
import {
  type BackendName,
  type Candidate,
  type IndexPattern,
  isLayerScope,
  type Scope,
  VARIANTS,
} from '../core/cell.js';
import { blockDefaults, groupSize, type ModelShape } from '../core/model-shape.js';

/** An odd number of groups and neurons, so that tiles and pairs have ends. */
export const KV_HEADS = 5;
export const NEURONS = 203;

/** The kernels of the CPU take any multiple of 8 up to 256, those of CUDA these. */
export const CUDA_HEAD_DIMS = [64, 96, 128, 256];

/** A problem, and how many of its KV groups and neurons the selective kernels compute, one candidate each. */
export interface CaseShape {
  readonly model: ModelShape;
  readonly scope: Scope;
  readonly batchSize: number;
  readonly kvLen: number | null;
  readonly pattern: IndexPattern;
  readonly groups: readonly number[];
  readonly neurons: readonly number[];
}

export function shape(overrides: Partial<ModelShape>): ModelShape {
  return {
    name: 'verify',
    family: 'llama',
    numLayers: 1,
    hiddenSize: 136,
    intermediateSize: NEURONS,
    numQoHeads: KV_HEADS,
    numKvHeads: KV_HEADS,
    headDim: 64,
    vocabSize: 64,
    activation: 'silu',
    gated: true,
    mlpBias: false,
    ...blockDefaults(overrides.family ?? 'llama'),
    criticalHeadDensity: null,
    referenceKvLen: null,
    defaultMlpDensity: null,
    source: 'verify',
    ...overrides,
  };
}

/** 1, an odd count in between, all: the counts at which selection has an end case. */
export function counts(total: number): number[] {
  const middle = Math.max(1, Math.floor(total / 2) | 1);
  return [...new Set([1, Math.min(middle, total), total])];
}

/**
 * Every kernel of the scope: dense once, selective ones at each count. What selects both takes the counts pairwise, and
 * in a step once more with another count in every layer.
 */
export function candidatesOf(s: CaseShape, backend: BackendName): Candidate[] {
  const { model, scope } = s;
  const whole = isLayerScope(scope);
  const allHeads = scope === 'attention' || whole ? model.numQoHeads : null;
  const allNeurons = whole || scope.startsWith('mlp') ? model.intermediateSize : null;
  return kernelsFor(scope, backend, VARIANTS, model).flatMap((kernel): Candidate[] => {
    const dense: Candidate = {
      kernel: kernel.id,
      variant: kernel.variant,
      activeHeads: allHeads,
      activeNeurons: allNeurons,
      layerActiveNeurons: null,
      densitySource: 'verify',
    };
    const heads = s.groups.map((count) => ({ activeHeads: count * groupSize(model) }));
    const neurons = s.neurons.map((count) => ({ activeNeurons: count }));
    if (kernel.selects === null) return [dense];
    if (kernel.selects === 'heads') return heads.map((h) => ({ ...dense, ...h }));
    if (kernel.selects === 'neurons') return neurons.map((n) => ({ ...dense, ...n }));
    const both = heads.map((h, i) => ({ ...dense, ...h, ...neurons[i % neurons.length] }));
    const [first] = both;
    return scope === 'step' && first !== undefined ? [...both, varied(first, model, s.neurons)] : both;
  });
}

/** The counts in turn, one per layer. */
function varied(candidate: Candidate, model: ModelShape, neurons: readonly number[]): Candidate {
  const list = Array.from({ length: model.numLayers }, (_, layer) => neurons[layer % neurons.length] ?? 1);
  const mean = list.reduce((a, b) => a + b, 0) / list.length;
  return { ...candidate, activeNeurons: Math.max(1, Math.round(mean)), layerActiveNeurons: list };
}

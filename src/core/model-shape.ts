export const ACTIVATIONS = ['relu', 'gelu', 'gelu-tanh', 'silu'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

export const MODEL_FAMILIES = ['opt', 'llama'] as const;
/** Block layout: `opt` = LayerNorm, biases, learned positions; `llama` = RMSNorm, RoPE, no MLP bias. */
export type ModelFamily = (typeof MODEL_FAMILIES)[number];

/** A number together with where it was published. */
export interface Sourced<T> {
  readonly value: T;
  readonly source: string;
}

/** The dimensions of a decoder-only transformer that decide what a decode step reads and computes. */
export interface ModelShape {
  /** Name as the user typed it or as the file calls itself; untrusted text. */
  readonly name: string;
  readonly family: ModelFamily;
  readonly numLayers: number;
  /** d */
  readonly hiddenSize: number;
  /** D, neurons of one MLP */
  readonly intermediateSize: number;
  /** H */
  readonly numQoHeads: number;
  /** H_kv; divides H */
  readonly numKvHeads: number;
  /** d_h; multiple of 8, at most 256 */
  readonly headDim: number;
  readonly vocabSize: number;
  readonly activation: Activation;
  /** true: act(gate) * up with two input projections (SwiGLU and relatives) */
  readonly gated: boolean;
  /** true: the MLP's projections have biases (OPT) */
  readonly mlpBias: boolean;
  /** true: the projections to q, k and v have biases (OPT, Qwen2) */
  readonly qkvBias: boolean;
  /** true: the output projection of attention has a bias (OPT) */
  readonly outBias: boolean;
  /** Base of the rotary angles, > 0; null where positions are learned (family opt) */
  readonly ropeTheta: number | null;
  /** Added to the variance (LayerNorm) or mean square (RMSNorm), > 0 */
  readonly normEpsilon: number;
  /** What a layer of the model has that scopes layer and step do not compute; null: nothing. */
  readonly unmodelledBlock: string | null;
  /** Share of heads (MHA) or KV groups (GQA) that keeps accuracy within 1 %; null where nothing is published. */
  readonly criticalHeadDensity: Sourced<number> | null;
  /** Share of neurons that mlp-sparse computes when nothing else is asked for; null: see the published curves. */
  readonly defaultMlpDensity: Sourced<number> | null;
  /** Sequence length at which the paper measured the model; null where it did not. */
  readonly referenceKvLen: Sourced<number> | null;
  /** Where the dimensions come from. */
  readonly source: string;
}

/** What a layer has beyond attention and MLP; files that do not say it (older results too) mean these values. */
export type BlockShape = Pick<
  ModelShape,
  'qkvBias' | 'outBias' | 'ropeTheta' | 'normEpsilon' | 'unmodelledBlock'
>;

const BLOCK_DEFAULTS: Readonly<Record<ModelFamily, BlockShape>> = {
  opt: { qkvBias: true, outBias: true, ropeTheta: null, normEpsilon: 1e-5, unmodelledBlock: null },
  llama: { qkvBias: false, outBias: false, ropeTheta: 10_000, normEpsilon: 1e-5, unmodelledBlock: null },
};

/** The block of a family where nothing else is said. */
export function blockDefaults(family: ModelFamily): BlockShape {
  return BLOCK_DEFAULTS[family];
}

/** Width between the two matrices of the MLP router: 1024 in the paper, never wider than the model, a multiple of 8. */
export function mlpRouterRank(shape: Pick<ModelShape, 'hiddenSize'>): number {
  return Math.floor(Math.min(1024, shape.hiddenSize) / 8) * 8;
}

/** Query heads that share one KV head: 1 for multi-head attention. */
export function groupSize(shape: Pick<ModelShape, 'numQoHeads' | 'numKvHeads'>): number {
  return shape.numQoHeads / shape.numKvHeads;
}

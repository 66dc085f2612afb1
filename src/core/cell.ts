import type { ModelShape } from './model-shape.js';

/** In the order of PolarScope in src/native/abi.h. */
export const SCOPES = ['attention', 'mlp', 'mlp-up', 'mlp-down', 'router', 'layer', 'step'] as const;
export type Scope = (typeof SCOPES)[number];

/** Scopes of whole transformer layers: both attention and MLP, routers included. */
export function isLayerScope(scope: Scope): scope is 'layer' | 'step' {
  return scope === 'layer' || scope === 'step';
}

/** Whether a cell of the scope has a KV cache, and with it a length N. */
export function hasKvCache(scope: Scope): boolean {
  return scope === 'attention' || isLayerScope(scope);
}

export const VARIANTS = ['dense', 'mlp-sparse', 'head-sparse', 'polar'] as const;
export type Variant = (typeof VARIANTS)[number];

export const DTYPES = ['bf16', 'fp16'] as const;
/** Storage type of every tensor; accumulation is float32. Both take 2 bytes. */
export type Dtype = (typeof DTYPES)[number];
export const DTYPE_BYTES = 2;

export const CACHE_MODES = ['cold', 'hot'] as const;
export type CacheMode = (typeof CACHE_MODES)[number];

export const BACKENDS = ['cpu', 'cuda'] as const;
export type BackendName = (typeof BACKENDS)[number];

export const INDEX_PATTERNS = ['random', 'first', 'last', 'every-second', 'explicit'] as const;
/** How the active groups or neurons of a selective candidate are drawn. */
export type IndexPattern = (typeof INDEX_PATTERNS)[number];

/** One kernel with its densities; the candidates of a cell share its inputs and are sampled interleaved. */
export interface Candidate {
  /** Catalog id, `attention/selective-head` */
  readonly kernel: string;
  readonly variant: Variant;
  /** Query heads computed per sequence; null where the scope has no attention. Dense: all. Step: from layer 1 on. */
  readonly activeHeads: number | null;
  /** Neurons computed; null where the scope has no MLP. Dense: all. Where layers differ: their mean, rounded. */
  readonly activeNeurons: number | null;
  /** Step only, one entry per layer; null: activeNeurons in every layer. */
  readonly layerActiveNeurons: readonly number[] | null;
  /** Where the density came from: `dense`, `flag`, `critical:<source>`, `default`, `published:<source>`, `topk:<file>`, ... */
  readonly densitySource: string;
}

/** One problem and the candidates that solve it. */
export interface Cell {
  /** Stable identity: equal keys mean the same measurement. See `cellKey`. */
  readonly key: string;
  readonly model: ModelShape;
  readonly backend: BackendName;
  readonly device: number;
  readonly scope: Scope;
  /** B, sequences decoded together */
  readonly batchSize: number;
  /** N, positions in the KV cache, in layer and step the new token's included; null where the scope has none */
  readonly kvLen: number | null;
  readonly dtype: Dtype;
  readonly cacheMode: CacheMode;
  readonly seed: number;
  readonly candidates: readonly Candidate[];
}

/** Head density as rows carry it: active heads over all heads. */
export function headDensity(model: ModelShape, candidate: Candidate): number | null {
  return candidate.activeHeads === null ? null : candidate.activeHeads / model.numQoHeads;
}

export function mlpDensity(model: ModelShape, candidate: Candidate): number | null {
  return candidate.activeNeurons === null ? null : candidate.activeNeurons / model.intermediateSize;
}

/** KV groups that a candidate reads per sequence; activeHeads is a multiple of the group size. */
export function activeGroups(model: ModelShape, candidate: Candidate): number | null {
  return candidate.activeHeads === null
    ? null
    : candidate.activeHeads / (model.numQoHeads / model.numKvHeads);
}

/**
 * `max(1, floor(density * total + 1e-9))`: the count of heads, KV groups or neurons at a density in (0, 1].
 * The paper's code truncates too: 0.3 of 72 heads is 21.
 */
export function activeCount(density: number, total: number): number {
  return Math.max(1, Math.floor(density * total + 1e-9));
}

/** Neurons of each layer, so that two lists of one mean are two measurements. */
function layersOf({ layerActiveNeurons: layers }: Candidate): string {
  return layers === null ? '' : `[${layers.join(' ')}]`;
}

/** What a layer has beyond attention and MLP; keys of the other scopes stay what they were. */
function blockOf(m: ModelShape): (string | number)[] {
  const biases = `${m.qkvBias ? 'qkv' : ''}${m.outBias ? 'out' : ''}` || 'noproj';
  return [m.family, m.numLayers, m.vocabSize, biases, `theta${m.ropeTheta ?? '-'}`, `eps${m.normEpsilon}`];
}

/** The identity of a cell: everything that changes what is measured, nothing that does not. */
export function cellKey(cell: Omit<Cell, 'key'>): string {
  const candidates = cell.candidates
    .map((c) => `${c.kernel}:${c.activeHeads ?? '-'}:${c.activeNeurons ?? '-'}${layersOf(c)}`)
    .join(',');
  const m = cell.model;
  const shape = [
    m.numQoHeads,
    m.numKvHeads,
    m.headDim,
    m.hiddenSize,
    m.intermediateSize,
    m.activation,
    m.gated ? 'gated' : 'plain',
    m.mlpBias ? 'bias' : 'nobias',
    ...(isLayerScope(cell.scope) ? blockOf(m) : []),
  ].join('x');
  return [
    m.name,
    shape,
    cell.backend,
    cell.device,
    cell.scope,
    `B${cell.batchSize}`,
    cell.kvLen === null ? 'N-' : `N${cell.kvLen}`,
    cell.dtype,
    cell.cacheMode,
    `seed${cell.seed}`,
    candidates,
  ].join('|');
}

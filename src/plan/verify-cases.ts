import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

import { routesItself } from '../core/catalog.js';
import {
  type BackendName,
  type Cell,
  cellKey,
  type Dtype,
  type IndexPattern,
  type Scope,
} from '../core/cell.js';
import type { Activation } from '../core/model-shape.js';
import { layerEdges, randomLayer, randomRouter, routerEdges } from './verify-layers.js';
import {
  candidatesOf,
  type CaseShape,
  counts,
  CUDA_HEAD_DIMS,
  KV_HEADS,
  NEURONS,
  shape,
} from './verify-shapes.js';

/** One problem whose candidates are compared with the reference, or must be refused. */
export interface VerifyCase {
  readonly title: string;
  readonly cell: Cell;
  readonly indexPattern: IndexPattern;
  readonly indices: readonly number[] | null;
  /** `refused`: the indices are wrong on purpose and must be refused with an error before a kernel sees them. */
  readonly expect: 'ok' | 'refused';
}

export interface VerifyCasesInput {
  readonly backend: BackendName;
  readonly device: number;
  readonly dtypes: readonly Dtype[];
  readonly scopes: readonly Scope[];
  readonly seed: number;
  /** Random shapes per dtype and scope, on top of the edge shapes */
  readonly randomCases: number;
}

const PATTERNS: readonly IndexPattern[] = ['random', 'first', 'last', 'every-second'];
const KV_LENS = [1, 63, 64, 65, 1000];
const BATCHES = [1, 3, 8, 17, 64, 65, 512];
/** head_dim and GQA ratio; the kernels of the CPU take any multiple of 8 up to 256, those of CUDA these four. */
const HEADS: readonly (readonly [headDim: number, ratio: number])[] = [
  [64, 1],
  [128, 1],
  [64, 4],
  [128, 4],
  [128, 6],
  [128, 8],
  [96, 2],
  [256, 3],
  [256, 1],
  [64, 16],
];
const CPU_ONLY_HEADS: readonly (readonly [headDim: number, ratio: number])[] = [
  [8, 1],
  [72, 5],
  [200, 7],
];
const MLPS: readonly (readonly [Activation, gated: boolean, bias: boolean])[] = [
  ['relu', false, true],
  ['gelu', false, false],
  ['gelu-tanh', true, false],
  ['silu', true, false],
];
function toCase(input: VerifyCasesInput, dtype: Dtype, s: CaseShape): VerifyCase {
  const withoutKey = {
    model: s.model,
    backend: input.backend,
    device: input.device,
    scope: s.scope,
    batchSize: s.batchSize,
    kvLen: s.kvLen,
    dtype,
    cacheMode: 'hot' as const,
    seed: input.seed,
    candidates: candidatesOf(s, input.backend),
  };
  return {
    title: `${s.scope} ${dtype} B=${s.batchSize} ${sizes(s)} ${s.pattern}`,
    cell: { ...withoutKey, key: cellKey(withoutKey) },
    indexPattern: s.pattern,
    indices: null,
    expect: 'ok',
  };
}

function sizes({ model: m, scope, kvLen }: CaseShape): string {
  const attention = `H=${m.numQoHeads}/${m.numKvHeads} d_h=${m.headDim} N=${kvLen}`;
  const mlp = `d=${m.hiddenSize} D=${m.intermediateSize} ${m.activation}${m.gated ? ' gated' : ''}${m.mlpBias ? ' bias' : ''}`;
  if (scope === 'attention') return attention;
  if (scope === 'router') return `H_kv=${m.numKvHeads} d=${m.hiddenSize} D=${m.intermediateSize}`;
  return scope === 'layer' || scope === 'step' ? `${m.family} L=${m.numLayers} ${attention} ${mlp}` : mlp;
}

/** Every head shape with every length; batch size and index pattern run along so that each meets each length. */
function attentionEdges(backend: BackendName): CaseShape[] {
  const heads = backend === 'cpu' ? [...HEADS, ...CPU_ONLY_HEADS] : HEADS;
  return heads.flatMap(([headDim, ratio], h) =>
    KV_LENS.flatMap((kvLen, n) =>
      PATTERNS.map((pattern, p) => ({
        model: shape({ headDim, numQoHeads: KV_HEADS * ratio, numKvHeads: KV_HEADS }),
        scope: 'attention' as const,
        batchSize: [1, 3, 8][(h + n + p) % 3] ?? 1,
        kvLen,
        pattern,
        groups: counts(KV_HEADS),
        neurons: [],
      })),
    ),
  );
}

function mlpEdges(scope: Scope): CaseShape[] {
  return MLPS.flatMap(([activation, gated, mlpBias], a) =>
    BATCHES.map((batchSize, b) => ({
      model: shape({ activation, gated, mlpBias, hiddenSize: b % 2 === 0 ? 136 : 64 }),
      scope,
      batchSize,
      kvLen: null,
      pattern: PATTERNS[(a + b) % PATTERNS.length] ?? 'random',
      groups: [],
      neurons: counts(NEURONS),
    })),
  );
}

function randomShape(scope: Scope, backend: BackendName, random: RandomGenerator): CaseShape {
  const between = (low: number, high: number): number => uniformInt(random, low, high);
  const pick = <T>(list: readonly T[]): T => list[between(0, list.length - 1)] as T;
  if (scope === 'router') return randomRouter({ between, pick });
  if (scope === 'layer' || scope === 'step') return randomLayer(scope, backend, { between, pick });
  const pattern = pick(PATTERNS);
  if (scope === 'attention') {
    const numKvHeads = between(1, 12);
    const headDim = backend === 'cuda' ? pick(CUDA_HEAD_DIMS) : 8 * between(1, 32);
    return {
      model: shape({ numKvHeads, numQoHeads: numKvHeads * between(1, 16), headDim }),
      scope,
      batchSize: between(1, 9),
      kvLen: between(1, 700),
      pattern,
      groups: [between(1, numKvHeads)],
      neurons: [],
    };
  }
  const [activation, gated, mlpBias] = pick(MLPS);
  const intermediateSize = between(1, 700);
  return {
    model: shape({ activation, gated, mlpBias, intermediateSize, hiddenSize: 8 * between(1, 90) }),
    scope,
    batchSize: between(1, 130),
    kvLen: null,
    pattern,
    groups: [],
    neurons: [between(1, intermediateSize)],
  };
}

/**
 * Duplicates, a wrong order, values out of range: an index set that a kernel must never see. Routers, layers and steps
 * take none from outside.
 */
function refusals(input: VerifyCasesInput, dtype: Dtype, scope: Scope): VerifyCase[] {
  if (routesItself(scope)) return [];
  const total = scope === 'attention' ? KV_HEADS : NEURONS;
  const wrong: [string, number[]][] = [
    ['duplicate', [1, 1, 2]],
    ['descending', [2, 1, 0]],
    ['negative', [-1, 0, 1]],
    ['past the end', [0, 1, total]],
    ['none', []],
  ];
  return wrong.map(([what, indices]) => {
    const base = toCase(input, dtype, {
      model: shape({ mlpBias: false }),
      scope,
      batchSize: 2,
      kvLen: scope === 'attention' ? 65 : null,
      pattern: 'explicit',
      groups: [indices.length],
      neurons: [indices.length],
    });
    const candidates = base.cell.candidates.filter((c) => c.variant !== 'dense');
    return {
      ...base,
      title: `${scope} ${dtype} indices ${what}`,
      cell: { ...base.cell, candidates },
      indices,
      expect: 'refused' as const,
    };
  });
}

function edgesOf(scope: Scope, backend: BackendName): CaseShape[] {
  if (scope === 'attention') return attentionEdges(backend);
  if (scope === 'router') return routerEdges();
  return scope === 'layer' || scope === 'step' ? layerEdges(scope, backend) : mlpEdges(scope);
}

/**
 * The edge shapes of docs/methodology.md, seeded random shapes, and index sets that must be refused. Each case runs all
 * kernels of its scope at one, an odd number and all of its groups and neurons.
 */
export function verifyCases(input: VerifyCasesInput): VerifyCase[] {
  return input.dtypes.flatMap((dtype) =>
    input.scopes.flatMap((scope, s) => {
      const random = xoroshiro128plus(input.seed * 31 + s);
      const shapes = edgesOf(scope, input.backend);
      for (let i = 0; i < input.randomCases; i++) shapes.push(randomShape(scope, input.backend, random));
      return [...shapes.map((one) => toCase(input, dtype, one)), ...refusals(input, dtype, scope)];
    }),
  );
}

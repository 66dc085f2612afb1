import { describe, expect, it } from 'vitest';
import type { Candidate } from '../../../src/core/cell.js';
import { InternalError } from '../../../src/core/errors.js';
import { trafficOf } from '../../../src/theory/traffic.js';
import { candidate, GQA, MHA } from './shapes.js';

const traffic = (bytesRead: number, bytesWritten: number, flops: number) => ({
  bytesRead,
  bytesWritten,
  bytesMoved: bytesRead + bytesWritten,
  flops,
});

describe('a router, counted by hand: B = 2, d = 16, 4 heads, D = 40, rank 16', () => {
  const problem = { model: MHA, scope: 'router', batchSize: 2, kvLen: null } as const;

  it('of heads reads x 64 B and R 128 B, writes 8 scores and 2 x 3 indices', () => {
    expect(trafficOf(problem, candidate('router/attention-topk', 3, null))).toEqual(
      traffic(64 + 128, 32 + 24, 256),
    );
  });

  it('of neurons reads both matrices, 16 x 16 and 40 x 16, and writes 40 scores and 10 indices', () => {
    expect(trafficOf(problem, candidate('router/mlp-topk', null, 10))).toEqual(
      traffic(64 + 512 + 1280, 160 + 40, 3584),
    );
  });
});

describe('one layer, counted by hand', () => {
  // B = 2, N = 10. x and out 64 B each, norms 128, Wqkv 3072 + 192, Wo 1024 + 32; K and V of nine positions, of which a
  // head has 576 B; the new position of all four heads 256 B. Products: qkv 6144, out 2048.
  const OUTSIDE_MLP = 128 + 3072 + 192 + 1024 + 32;
  const WRITTEN = 64 + 256;
  const problem = { model: MHA, scope: 'layer', batchSize: 2, kvLen: 10 } as const;

  it.each([
    // W1, b1, W2, b2 of 40 neurons: 2672 B; of 10: 692 B. Routers: of heads 128 B, of neurons 1792 B.
    ['layer/dense', 4, 40, 64 + OUTSIDE_MLP + 2672 + 2304, 2560 + 8192 + 5120],
    ['layer/mlp-sparse', 4, 10, 64 + OUTSIDE_MLP + 692 + 1792 + 2304, 2560 + 8192 + 1280 + 3584],
    ['layer/head-sparse', 3, 40, 64 + OUTSIDE_MLP + 2672 + 128 + 1728, 1920 + 8192 + 5120 + 256],
    ['layer/polar', 3, 10, 64 + OUTSIDE_MLP + 692 + 1920 + 1728, 1920 + 8192 + 1280 + 3840],
  ])('%s with %d heads and %d neurons', (kernel, heads, neurons, bytesRead, flops) => {
    expect(trafficOf(problem, candidate(kernel, heads, neurons))).toEqual(traffic(bytesRead, WRITTEN, flops));
  });

  it('of the LLaMA family: gate and up, no biases, norms without, one group = 4 query heads', () => {
    // B = 3, N = 5. x 96, norms 64, Wqkv 6144, Wo 4096, MLP 3840; four cached positions of two groups 1536
    const llama = { model: GQA, scope: 'layer', batchSize: 3, kvLen: 5 } as const;
    const dense = 96 + 64 + 6144 + 4096 + 3840;
    expect(trafficOf(llama, candidate('layer/dense', 8, 40))).toEqual(
      traffic(dense + 1536, 96 + 384, 7680 + 30_720 + 11_520),
    );
    expect(trafficOf(llama, candidate('layer/head-sparse', 4, 40))).toEqual(
      traffic(dense + 64 + 768, 96 + 384, 3840 + 30_720 + 11_520 + 192),
    );
  });

  it('with the very first token has no cache to read', () => {
    const first = trafficOf({ ...problem, kvLen: 1 }, candidate('layer/dense', 4, 40));
    expect(first.bytesRead).toBe(64 + OUTSIDE_MLP + 2672);
    expect(first.bytesWritten).toBe(WRITTEN);
  });
});

describe('a step of two layers, counted by hand', () => {
  const model = { ...MHA, numLayers: 2 };
  const problem = { model, scope: 'step', batchSize: 2, kvLen: 10 } as const;
  // Final norm 64 B, head 3200 B; logits 2 x 100 x 2 B, tokens 2 x 4 B, twice the new position
  const WRITTEN = 512 + 400 + 8;

  it('dense is twice the layer, with head and final norm', () => {
    const layer = 4448 + 2672;
    expect(trafficOf(problem, candidate('step/dense', 4, 40))).toEqual(
      traffic(64 + 2 * layer + 64 + 3200 + 2 * 2304, WRITTEN, 2 * 15_872 + 6400),
    );
  });

  it('polar keeps the attention of layer 0 dense, without a router, and has neurons of its own in each layer', () => {
    const polar: Candidate = { ...candidate('step/polar', 3, 15), layerActiveNeurons: [10, 20] };
    const first = 4448 + 692 + 1792;
    const second = 4448 + 1352 + 1792 + 128;
    expect(trafficOf(problem, polar)).toEqual(
      traffic(64 + first + second + 64 + 3200 + 2304 + 1728, WRITTEN, 15_616 + 16_512 + 6400),
    );
  });

  it.each([
    [{ ...candidate('step/polar', 3, 15), layerActiveNeurons: [10] }],
    [candidate('step/polar', null, 15)],
    [candidate('step/polar', 3, null)],
    [candidate('layer/polar', 3, 15)],
  ])('%j is a bug', (broken) => {
    expect(() => trafficOf(problem, broken)).toThrow(InternalError);
  });
});

describe('the models of the paper', () => {
  it('gain at most what its analysis says', async () => {
    const { loadModel } = await import('../../../src/models/load.js');
    const bytes = (name: string, kvLen: number, heads: number | null, neurons: number | null) => {
      const m = loadModel(name);
      const variant = heads === null ? 'dense' : neurons === null ? 'head-sparse' : 'polar';
      const c = candidate(`step/${variant}`, heads ?? m.numQoHeads, neurons ?? m.intermediateSize);
      return trafficOf({ model: m, scope: 'step', batchSize: 64, kvLen }, c).bytesMoved;
    };
    // OPT-66B N=1920, 21 of 72 heads, 0.490 of the neurons: bound 2.31; LLaMA-2-7B N=3968 at 0.5: 1.79
    const opt = bytes('opt-66b', 1920, null, null) / bytes('opt-66b', 1920, 21, 18_063);
    expect(opt).toBeCloseTo(2.31, 1);
    const llama2 = bytes('llama-2-7b', 3968, null, null) / bytes('llama-2-7b', 3968, 16, null);
    expect(llama2).toBeCloseTo(1.79, 1);
    const llama3 = bytes('llama-3.1-70b', 8192, null, null) / bytes('llama-3.1-70b', 8192, 40, null);
    expect(llama3).toBeCloseTo(1.26, 1);
  });
});

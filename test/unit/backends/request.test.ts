import { describe, expect, test } from 'vitest';

import { measureRequest, verifyRequest } from '../../../src/backends/native/request.js';
import { candidate, cell, selectiveHead, shape } from '../../support/cells.js';

const sampling = { minSamples: 10, maxSamples: 40, maxNoise: 0.02, maxTimeS: 4, warmup: 1, minSampleUs: 200 };

describe('native requests', () => {
  test('attention: groups, not heads, cross the boundary; MLP fields are 0', () => {
    const request = measureRequest({ cell: cell(), sampling, threads: 2, breakdown: false });
    expect(request.problem).toEqual({
      scope: 0,
      dtype: 0,
      batchSize: 2,
      kvLen: 100,
      kvCapacity: 128,
      numQoHeads: 8,
      numKvHeads: 4,
      headDim: 64,
      hiddenSize: 0,
      intermediateSize: 0,
      activation: 0,
      gated: 0,
      mlpBias: 0,
      norm: 0,
      qkvBias: 0,
      outBias: 0,
      rope: 0,
      ropeTheta: 0,
      normEpsilon: 0,
      numLayers: 0,
      vocabSize: 0,
      mlpRouterRank: 0,
      seed: 1,
    });
    expect(request.candidates).toEqual([
      {
        kernel: 'attention/dense',
        activeGroups: 4,
        activeNeurons: 0,
        indexPattern: 0,
        dense: 1,
        indices: null,
        layerActiveNeurons: null,
      },
      {
        kernel: 'attention/selective-head',
        activeGroups: 2,
        activeNeurons: 0,
        indexPattern: 0,
        dense: 0,
        indices: null,
        layerActiveNeurons: null,
      },
    ]);
    expect(request.options).toMatchObject({ mode: 0, coldCache: 1, maxNoise: 0.02, threads: 2 });
  });

  test('mlp: attention fields are 0', () => {
    const dense = candidate({ kernel: 'mlp/dense', activeHeads: null, activeNeurons: 1024 });
    const { problem } = measureRequest({
      cell: cell({ scope: 'mlp', kvLen: null, dtype: 'fp16', candidates: [dense] }),
      sampling,
      threads: 0,
      breakdown: false,
    });
    expect(problem).toMatchObject({ scope: 1, dtype: 1, kvLen: 0, kvCapacity: 0, numQoHeads: 0, headDim: 0 });
    expect(problem).toMatchObject({ hiddenSize: 512, intermediateSize: 1024, activation: 3, gated: 1 });
  });

  const whole = (scope: 'router' | 'layer' | 'step', more: Partial<Parameters<typeof shape>[0]> = {}) =>
    measureRequest({
      cell: cell({
        scope,
        kvLen: scope === 'router' ? null : 100,
        model: shape(more),
        candidates: [
          candidate({
            kernel: `${scope}/polar`,
            variant: 'polar',
            activeHeads: 4,
            activeNeurons: 300,
            layerActiveNeurons: scope === 'step' ? [200, 400] : null,
          }),
        ],
      }),
      sampling,
      threads: 0,
      breakdown: true,
    });

  test('step: attention, MLP and block cross together, with the neurons of each layer', () => {
    const { problem, candidates, options } = whole('step', { ropeTheta: 500_000, qkvBias: true });
    expect(problem).toMatchObject({ scope: 6, kvLen: 100, kvCapacity: 128, numKvHeads: 4, hiddenSize: 512 });
    expect(problem).toMatchObject({ norm: 2, qkvBias: 1, outBias: 0, rope: 1, ropeTheta: 500_000 });
    expect(problem).toMatchObject({ normEpsilon: 1e-5, numLayers: 2, vocabSize: 1000, mlpRouterRank: 512 });
    expect(candidates[0]).toMatchObject({ activeGroups: 2, activeNeurons: 300, dense: 0, indexPattern: 0 });
    expect([...(candidates[0]?.layerActiveNeurons ?? [])]).toEqual([200, 400]);
    expect(options.breakdown).toBe(1);
  });

  test('layer: one layer, no vocabulary, no breakdown; OPT has LayerNorm and no rotation', () => {
    const { problem, options } = whole('layer', { family: 'opt', ropeTheta: null, outBias: true });
    expect(problem).toMatchObject({ scope: 5, norm: 1, rope: 0, ropeTheta: 0, outBias: 1, numLayers: 1 });
    expect(problem.vocabSize).toBe(0);
    expect(options.breakdown).toBe(0);
  });

  test('router: both parts and the rank, no block and no cache', () => {
    const { problem } = whole('router', { hiddenSize: 9216 });
    expect(problem).toMatchObject({
      scope: 4,
      kvLen: 0,
      kvCapacity: 0,
      numKvHeads: 4,
      intermediateSize: 1024,
    });
    expect(problem).toMatchObject({ norm: 0, numLayers: 0, mlpRouterRank: 1024 });
  });

  test('a timed length that fills its tiles has no tail; a verified one always has', () => {
    const at = (kvLen: number) => cell({ kvLen });
    const timed = (kvLen: number) =>
      measureRequest({ cell: at(kvLen), sampling, threads: 0, breakdown: false }).problem.kvCapacity;
    const verified = (kvLen: number) =>
      verifyRequest({ cell: at(kvLen), threads: 0, indexPattern: 'random', indices: null, repeats: 10 })
        .problem.kvCapacity;
    expect([timed(1), timed(64), timed(65)]).toEqual([64, 64, 128]);
    expect([verified(1), verified(63), verified(64)]).toEqual([64, 64, 128]);
  });

  test('patterns and explicit indices go to selective kernels only', () => {
    const request = verifyRequest({
      cell: cell({ candidates: [candidate(), selectiveHead(4)], model: shape() }),
      threads: 0,
      indexPattern: 'explicit',
      indices: [1, 3],
      repeats: 10,
    });
    expect(request.candidates.map((c) => c.indexPattern)).toEqual([0, 4]);
    expect(request.candidates[0]?.indices).toBeNull();
    expect([...(request.candidates[1]?.indices ?? [])]).toEqual([1, 3]);
    expect(request.options).toMatchObject({ mode: 1, repeats: 10, verifyRows: 0 });
  });
});

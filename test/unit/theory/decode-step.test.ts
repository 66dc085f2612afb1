import { describe, expect, test } from 'vitest';

import { loadModel } from '../../../src/models/load.js';
import { predictStep } from '../../../src/theory/decode-step.js';
import { shape } from '../../support/cells.js';

/** The read ceiling of an H200 and a matrix ceiling so high that bytes decide. */
const H200 = { readGbPerS: 4700, matrixTflopPerS: 690 };

const speedup = (name: string, batch: number, kvLen: number, heads: number, mlp: number | null): number => {
  const of = (variant: 'dense' | 'polar') =>
    predictStep(loadModel(name), variant, batch, kvLen, { heads, mlp }, H200)?.totalUs ?? Number.NaN;
  return of('dense') / of('polar');
};

describe('the bound of the decode speedup, against a table that was computed apart from this code', () => {
  test.each([
    ['opt-66b', 1920, 1, 0.3, 0.075, 2.33],
    ['opt-66b', 1920, 16, 0.3, 0.263, 2.13],
    ['opt-66b', 1920, 64, 0.3, 0.49, 2.31],
    ['llama-2-7b', 3968, 1, 0.5, null, 1.07],
    ['llama-2-7b', 3968, 16, 0.5, null, 1.53],
    ['llama-2-7b', 3968, 64, 0.5, null, 1.79],
    ['llama-2-7b', 3968, 128, 0.5, null, 1.85],
    ['llama-3-8b', 8192, 16, 0.625, null, 1.24],
    ['llama-3-8b', 8192, 64, 0.625, null, 1.42],
    ['llama-3.1-70b', 8192, 16, 0.625, null, 1.1],
    ['llama-3.1-70b', 8192, 64, 0.625, null, 1.26],
    ['llama-3.1-70b', 8192, 128, 0.625, null, 1.36],
  ] as const)('%s N=%i B=%i', (name, kvLen, batch, heads, mlp, expected) => {
    expect(Math.abs(speedup(name, batch, kvLen, heads, mlp) / expected - 1)).toBeLessThan(0.02);
  });
});

describe('the parts of a step', () => {
  // d 512, H 8 in 4 groups of d_h 64, D 1024 gated, 2 layers; B 2, N 100; 1 GB/s makes a byte a nanosecond.
  const roofs = { readGbPerS: 1, matrixTflopPerS: 1e9 };
  const of = (variant: 'dense' | 'mlp-sparse' | 'head-sparse' | 'polar', mlp: number | null = 0.5) =>
    predictStep(shape(), variant, 2, 100, { heads: 0.5, mlp }, roofs);

  test('by hand, dense', () => {
    const dense = of('dense');
    // (512 * (512 + 2 * 256) weights + 2 * (512 + 1024) in and out) * 2 bytes * 2 layers
    expect(dense?.qkvUs).toBeCloseTo(((512 * 1024 + 2 * 1536) * 2 * 2) / 1000, 6);
    expect(dense?.outProjUs).toBeCloseTo(((512 * 512 + 2 * 1024) * 2 * 2) / 1000, 6);
    // K and V of 4 groups x 100 x 64, q and output of 8 x 64, for 2 sequences in 2 layers
    expect(dense?.attentionUs).toBeCloseTo(((2 * 4 * 100 * 64 + 2 * 8 * 64) * 2 * 2 * 2) / 1000, 6);
    // gate, up and down of 1024 neurons x 512, input and output of 512
    expect(dense?.mlpUs).toBeCloseTo(((3 * 1024 * 512 + 2 * 1024) * 2 * 2) / 1000, 6);
    expect(dense?.routersUs).toBe(0);
    const { totalUs = 0, ...parts } = dense ?? {};
    expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBeCloseTo(totalUs, 9);
  });

  test('the first layer keeps dense attention', () => {
    // Layer 1: K and V of 2 groups, q of 4 heads, output of 8, 2 index entries of 4 bytes, for 2 sequences.
    const sparse = 2 * ((2 * 2 * 100 * 64 + 4 * 64 + 8 * 64) * 2 + 2 * 4);
    const dense = 2 * (2 * 4 * 100 * 64 + 2 * 8 * 64) * 2;
    expect(of('head-sparse')?.attentionUs).toBeCloseTo((dense + sparse) / 1000, 6);
  });

  test('routers are paid by the variants that need them', () => {
    // d -> 4 groups in layer 1 alone: input and matrix of 2 bytes, scores and 2 chosen groups a sequence of 4.
    const heads = 2 * 512 * 2 + 512 * 4 * 2 + 2 * (4 + 2) * 4;
    // d -> 512 -> D in both layers; one set of 512 of 1024 neurons for the batch.
    const mlp = 2 * (2 * 512 * 2 + 512 * (512 + 1024) * 2 + (1024 + 512) * 4);
    expect(of('head-sparse')?.routersUs).toBeCloseTo(heads / 1000, 6);
    expect(of('mlp-sparse')?.routersUs).toBeCloseTo(mlp / 1000, 6);
    expect(of('polar')?.routersUs).toBeCloseTo((heads + mlp) / 1000, 6);
  });

  test('without a density of the MLP there is no sparse MLP, and polar is head sparsity', () => {
    expect(of('mlp-sparse', null)).toBeNull();
    expect(of('polar', null)).toEqual(of('head-sparse', null));
  });
});

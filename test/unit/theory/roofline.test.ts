import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import { boundOf } from '../../../src/theory/roofline.js';
import { trafficOf } from '../../../src/theory/traffic.js';
import { candidate, GQA, MHA } from './shapes.js';

describe('boundOf', () => {
  it('takes the slower side', () => {
    // 1 GB at 4000 GB/s = 250 us; 100 GFLOP at 500 TFLOP/s = 200 us
    const ceilings = { readGbPerS: 4000, matrixTflopPerS: 500 };
    const memory = boundOf({ bytesMoved: 1e9, flops: 100e9 }, ceilings);
    expect(memory.limitedBy).toBe('memory');
    expect(memory.boundUs).toBeCloseTo(250, 9);
    expect(memory.matrixUs).toBeCloseTo(200, 9);
    const matrix = boundOf({ bytesMoved: 1e9, flops: 200e9 }, ceilings);
    expect(matrix.limitedBy).toBe('matrix');
    expect(matrix.boundUs).toBeCloseTo(400, 9);
    expect(matrix.memoryUs).toBeCloseTo(250, 9);
  });

  // Floors of a layer at B = 64 and 4.70 TB/s, worked out independently: 964 / 282 us, 457 / 286 us
  it.each([
    ['opt-66b', { ...MHA, numQoHeads: 72, numKvHeads: 72, headDim: 128 }, 1920, 'attention/dense', 72, 964],
    [
      'opt-66b',
      { ...MHA, numQoHeads: 72, numKvHeads: 72, headDim: 128 },
      1920,
      'attention/selective-head',
      21,
      282,
    ],
    ['llama-3-8b', { ...GQA, numQoHeads: 32, numKvHeads: 8, headDim: 128 }, 8192, 'attention/dense', 32, 457],
    [
      'llama-3-8b',
      { ...GQA, numQoHeads: 32, numKvHeads: 8, headDim: 128 },
      8192,
      'attention/selective-head',
      20,
      286,
    ],
  ])(
    'agrees with the known floor of %s %o at N = %d, %s with %d heads',
    (_, model, kvLen, kernel, heads, us) => {
      const traffic = trafficOf(
        { model, scope: 'attention', batchSize: 64, kvLen },
        candidate(kernel, heads, null),
      );
      const bound = boundOf(traffic, { readGbPerS: 4700, matrixTflopPerS: 700 });
      expect(Math.abs(bound.boundUs - us)).toBeLessThan(1);
    },
  );

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a ceiling of %d', (bad) => {
    const traffic = { bytesMoved: 1, flops: 1 };
    expect(() => boundOf(traffic, { readGbPerS: bad, matrixTflopPerS: 1 })).toThrow(InternalError);
    expect(() => boundOf(traffic, { readGbPerS: 1, matrixTflopPerS: bad })).toThrow(InternalError);
  });
});

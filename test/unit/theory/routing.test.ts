import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addLogits, rankDescending, RecallCurve, topHeads } from '../../../src/theory/routing.js';

describe('rankDescending', () => {
  test('hand-computed: ties by index, signs, zeros, infinities and NaN', () => {
    expect([...rankDescending([1, 3, 2])]).toEqual([1, 2, 0]);
    expect([...rankDescending([0, -0, 5, 5, -1])]).toEqual([2, 3, 0, 1, 4]);
    expect([...rankDescending([NaN, -Infinity, Infinity, -1e-40, 1e-40])]).toEqual([2, 4, 3, 1, 0]);
    expect([...rankDescending([])]).toEqual([]);
  });

  test('agrees with a stable sort of the single-precision scores', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true }), { maxLength: 60 }), (scores) => {
        const expected = scores.map((_, i) => i).toSorted((a, b) => scores[b]! - scores[a]! || a - b);
        // Infinity - Infinity is NaN, which `||` sends to the index as well.
        expect([...rankDescending(scores)]).toEqual(expected);
      }),
    );
  });
});

describe('RecallCurve', () => {
  test('hand-computed: two batches of four neurons', () => {
    const curve = new RecallCurve(4);
    // Order 3, 1, 0, 2; active 3 and 0: found at ranks 1 and 3.
    curve.addBatch([0.2, 0.5, 0.1, 0.9], [1, 0, 0, 1]);
    // Order 0, 1, 2, 3; active 0: found at rank 1.
    curve.addBatch([4, 3, 2, 1], [1, 0, 0, 0]);
    expect([0, 1, 2, 3, 4].map((k) => curve.recall(k))).toEqual([0, 0.75, 0.75, 1, 1]);
    expect(curve.smallestK(0.75)).toBe(1);
    expect(curve.smallestK(0.76)).toBe(3);
    expect(curve.smallestK(1)).toBe(3);
    expect(curve.batches).toBe(2);
  });

  test('a batch that activates nothing is recalled by any k', () => {
    const curve = new RecallCurve(3);
    curve.addBatch([1, 2, 3], [0, 0, 0]);
    expect(curve.smallestK(1)).toBe(1);
    expect(curve.recall(1)).toBe(1);
  });

  test('rounding never costs a k: n times 1/n counts as full recall for every n', () => {
    for (let n = 1; n <= 200; n++) {
      const curve = new RecallCurve(201);
      const scores = Array.from({ length: 201 }, (_, j) => -j);
      curve.addBatch(
        scores,
        scores.map((_, j) => (j < n ? 1 : 0)),
      );
      expect(curve.smallestK(1)).toBe(n);
      expect(curve.greedyK(1, 1, 1)).toBe(n);
    }
  });

  test('greedy stops at the k that met the recall, on its own grid, never above D', () => {
    const curve = new RecallCurve(10);
    curve.addBatch(
      Array.from({ length: 10 }, (_, j) => -j),
      Array.from({ length: 10 }, (_, j) => (j < 5 ? 1 : 0)),
    );
    expect(curve.smallestK(1)).toBe(5);
    expect(curve.greedyK(1, 2, 2)).toBe(6);
    expect(curve.greedyK(1, 1, 1)).toBe(5);
    expect(curve.greedyK(1, 8, 4)).toBe(8);
    expect(curve.greedyK(1, 3, 100)).toBe(10);
    expect(curve.greedyK(1, 99, 1)).toBe(10);
  });

  test('greedy from the step is the exact k rounded up to the step', () => {
    const batch = fc.record({
      scores: fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 12, maxLength: 12 }),
      active: fc.array(fc.nat(1), { minLength: 12, maxLength: 12 }),
    });
    fc.assert(
      fc.property(
        fc.array(batch, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (batches, step, target) => {
          const curve = new RecallCurve(12);
          for (const b of batches) curve.addBatch(b.scores, b.active);
          const exact = curve.smallestK(target);
          expect(curve.greedyK(target, step, step)).toBe(Math.min(12, Math.ceil(exact / step) * step));
          expect(curve.recall(exact)).toBeGreaterThanOrEqual(target - 1e-9);
          expect(exact === 1 || curve.recall(exact - 1) < target).toBe(true);
        },
      ),
    );
  });
});

test('addLogits: one token as it is, several by their positive parts', () => {
  const one = new Float64Array(3);
  addLogits(one, Float32Array.of(-1, 2, 0), 1);
  expect([...one]).toEqual([-1, 2, 0]);
  const two = new Float64Array(3);
  addLogits(two, Float32Array.of(-4, 2, 0.5), 2);
  addLogits(two, Float32Array.of(1, 1, -3), 2);
  expect([...two]).toEqual([1, 3, 0.5]);
});

test('topHeads marks the k largest norms', () => {
  expect([...topHeads([0.1, 0.9, 0.5, 0.5], 2)]).toEqual([0, 1, 1, 0]);
});

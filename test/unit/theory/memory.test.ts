import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import { memoryOf, rotationCopies } from '../../../src/theory/memory.js';
import { candidate, GQA, MHA } from './shapes.js';

const hot = { mode: 'hot', lastLevelCacheBytes: 1e6, freeMemoryBytes: 1e9 } as const;

describe('memoryOf', () => {
  it('adds up an attention cell', () => {
    const cell = {
      model: GQA,
      scope: 'attention' as const,
      batchSize: 3,
      kvLen: 5,
      candidates: [
        candidate('attention/dense', 8, null),
        candidate('attention/selective-head', 4, null),
        candidate('attention/gather-dense', 4, null),
      ],
    };
    // q 768, KV 1920, two index sets of 12; an output of 768 each; the gathered half of the KV
    expect(memoryOf(cell, hot)).toEqual({
      inputBytes: 768 + 1920 + 24,
      outputBytes: 3 * 768,
      workspaceBytes: 960,
      requiredBytes: 768 + 1920 + 24 + 2304 + 960,
      rotationCopies: 1,
      rotationBytes: 768 + 1920 + 24 + 2304 + 960,
      residentLayers: null,
    });
    // The selective run touches 972 bytes: 5 x 1000 / 972 = 5.1, so six copies; each holds KV and indices again.
    const cold = memoryOf(cell, {
      mode: 'cold',
      lastLevelCacheBytes: 1000,
      freeMemoryBytes: 1e9,
    });
    expect(cold.rotationCopies).toBe(6);
    expect(cold.rotationBytes).toBe(cold.requiredBytes + 5 * (1920 + 24));
  });

  it('holds all inputs also where no candidate is dense', () => {
    const base = { model: GQA, scope: 'attention' as const, batchSize: 3, kvLen: 5 };
    const sparse = memoryOf({ ...base, candidates: [candidate('attention/selective-head', 4, null)] }, hot);
    expect(sparse.inputBytes).toBe(768 + 1920 + 12);
  });

  it('adds up an MLP cell with its hidden activations', () => {
    const cell = {
      model: MHA,
      scope: 'mlp' as const,
      batchSize: 2,
      kvLen: null,
      candidates: [candidate('mlp/dense', null, 40), candidate('mlp/gather-dense', null, 10)],
    };
    const weights = 1280 + 80 + 1280 + 32;
    const gathered = 320 + 20 + 320 + 32;
    const hidden = 160 + 40;
    const memory = memoryOf(cell, hot);
    expect(memory.inputBytes).toBe(64 + weights + 40);
    expect(memory.workspaceBytes).toBe(gathered + hidden);
    expect(memory.requiredBytes).toBe(64 + weights + 40 + 2 * 64 + gathered + hidden);
  });

  it('adds up the two routers of a cell, which share x alone', () => {
    const cell = {
      model: MHA,
      scope: 'router' as const,
      batchSize: 2,
      kvLen: null,
      candidates: [candidate('router/attention-topk', 3, null), candidate('router/mlp-topk', null, 10)],
    };
    const memory = memoryOf(cell, hot);
    expect(memory.inputBytes).toBe(64 + 128 + 1792);
    expect(memory.outputBytes).toBe(56 + 200);
  });

  describe('of a step of four layers', () => {
    const cell = {
      model: { ...MHA, numLayers: 4 },
      scope: 'step' as const,
      batchSize: 2,
      kvLen: 10,
      candidates: [candidate('step/dense', 4, 40), candidate('step/polar', 3, 10)],
    };
    // Weights of a layer 7120, its routers 1920 (layer 0: 1792), final norm 64, head 3200; cached KV of a layer 2304
    const layers = 4 * 7120 + 4 * 1920 - 128 + 64 + 4 * 2304;
    const cold = { ...hot, mode: 'cold', lastLevelCacheBytes: 2000 } as const;

    it('holds all layers where they fit', () => {
      const memory = memoryOf(cell, hot);
      expect(memory.residentLayers).toBe(4);
      expect(memory.inputBytes).toBe(64 + layers + 3200);
      expect(memory.rotationBytes).toBeCloseTo(
        memory.inputBytes + memory.outputBytes + memory.workspaceBytes,
        6,
      );
      expect(memory.requiredBytes).toBeLessThan(memory.rotationBytes);
    });

    it('cycles through as many as fit, and never through fewer than the cache needs', () => {
      const once = memoryOf(cell, hot).rotationBytes - layers;
      const room = (count: number) => ({ ...cold, freeMemoryBytes: once + count * (layers / 4) + 1 });
      expect(memoryOf(cell, room(3)).residentLayers).toBe(3);
      // polar touches 8,000 bytes a layer and more: two layers are beyond five times the cache
      const least = memoryOf(cell, room(0));
      expect(least.residentLayers).toBe(2);
      expect(least.requiredBytes).toBeGreaterThan(room(0).freeMemoryBytes);
    });

    it('that fits into the cache is held several times', () => {
      const memory = memoryOf(cell, { ...hot, mode: 'cold' });
      expect(memory.rotationCopies).toBeGreaterThan(100);
      expect(memory.residentLayers).toBe(4 * memory.rotationCopies);
    });
  });

  it('refuses a cell without candidates', () => {
    const cell = { model: MHA, scope: 'mlp' as const, batchSize: 2, kvLen: null, candidates: [] };
    expect(() => memoryOf(cell, hot)).toThrow(InternalError);
  });
});

describe('rotationCopies', () => {
  it('is the least number of copies that exceeds five times the cache', () => {
    const bytes = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 1_000_000 }), (touched, cache) => {
        const copies = rotationCopies(touched, cache);
        expect(copies * touched).toBeGreaterThan(5 * cache);
        expect((copies - 1) * touched).toBeLessThanOrEqual(5 * cache);
      }),
    );
  });
});

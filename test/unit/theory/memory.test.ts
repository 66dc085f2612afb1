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

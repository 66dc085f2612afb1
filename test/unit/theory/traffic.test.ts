import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CATALOG } from '../../../src/core/catalog.js';
import type { Scope } from '../../../src/core/cell.js';
import { InternalError } from '../../../src/core/errors.js';
import { trafficOf } from '../../../src/theory/traffic.js';
import { candidate, GQA, MHA } from './shapes.js';

describe('attention, counted by hand', () => {
  // B = 2, H = H_kv = 4, d_h = 8, N = 10: q 128 B, K and V 1280 B each, output 128 B
  it.each([
    ['attention/dense', 4, 128 + 2560, 128, 2560],
    ['attention/dense-per-query-head', 4, 128 + 2560, 128, 2560],
    // 3 heads: q 96 B, KV 1920 B, indices 2 x 3 x 4 B, the whole output
    ['attention/selective-head', 3, 96 + 1920 + 24, 128, 1920],
    ['attention/gather-dense', 3, 96 + 1920 + 24, 128, 1920],
    // density 1.0 still reads its index set
    ['attention/selective-head', 4, 128 + 2560 + 32, 128, 2560],
  ])('MHA %s with %d heads', (kernel, heads, bytesRead, bytesWritten, flops) => {
    const problem = { model: MHA, scope: 'attention', batchSize: 2, kvLen: 10 } as const;
    expect(trafficOf(problem, candidate(kernel, heads, null))).toEqual({
      bytesRead,
      bytesWritten,
      bytesMoved: bytesRead + bytesWritten,
      flops,
    });
  });

  // B = 3, H = 8, H_kv = 2, d_h = 16, N = 5: q 768 B, KV 1920 B, output 768 B; one group = 4 query heads
  it.each([
    ['attention/dense', 8, 768 + 1920, 7680],
    ['attention/dense-per-query-head', 8, 768 + 1920, 7680],
    ['attention/selective-head', 4, 384 + 960 + 12, 3840],
    ['attention/gather-dense', 4, 384 + 960 + 12, 3840],
  ])('GQA %s with %d heads', (kernel, heads, bytesRead, flops) => {
    const problem = { model: GQA, scope: 'attention', batchSize: 3, kvLen: 5 } as const;
    const traffic = trafficOf(problem, candidate(kernel, heads, null));
    expect(traffic).toEqual({ bytesRead, bytesWritten: 768, bytesMoved: bytesRead + 768, flops });
  });
});

describe('MLP, counted by hand: B = 2, d = 16, D = 40, 10 active neurons', () => {
  // x 64 B, W1 and W2 1280 B each, b1 80 B, b2 32 B, hidden 160 B, output 64 B
  const PLAIN_WITH_BIAS: [string, Scope, number, number, number, number][] = [
    ['mlp-up/dense', 'mlp-up', 40, 64 + 1280 + 80, 160, 2560],
    ['mlp-up/cublaslt', 'mlp-up', 40, 64 + 1280 + 80, 160, 2560],
    ['mlp-up/selective', 'mlp-up', 10, 64 + 320 + 20 + 40, 40, 640],
    ['mlp-up/gather-dense', 'mlp-up', 10, 64 + 320 + 20 + 40, 40, 640],
    ['mlp-down/dense', 'mlp-down', 40, 160 + 1280 + 32, 64, 2560],
    ['mlp-down/cublaslt', 'mlp-down', 40, 160 + 1280 + 32, 64, 2560],
    ['mlp-down/selective', 'mlp-down', 10, 40 + 320 + 32 + 40, 64, 640],
    ['mlp-down/gather-dense', 'mlp-down', 10, 40 + 320 + 32 + 40, 64, 640],
    ['mlp/dense', 'mlp', 40, 64 + 1280 + 80 + 1280 + 32, 64, 5120],
    ['mlp/cublaslt', 'mlp', 40, 64 + 1280 + 80 + 1280 + 32, 64, 5120],
    ['mlp/selective', 'mlp', 10, 64 + 320 + 20 + 320 + 32 + 40, 64, 1280],
    ['mlp/gather-dense', 'mlp', 10, 64 + 320 + 20 + 320 + 32 + 40, 64, 1280],
  ];
  // gate and up: twice W1; no biases
  const GATED: [string, Scope, number, number, number, number][] = [
    ['mlp-up/dense', 'mlp-up', 40, 64 + 2560, 160, 5120],
    ['mlp-up/selective', 'mlp-up', 10, 64 + 640 + 40, 40, 1280],
    ['mlp-down/dense', 'mlp-down', 40, 160 + 1280, 64, 2560],
    ['mlp-down/selective', 'mlp-down', 10, 40 + 320 + 40, 64, 640],
    ['mlp/dense', 'mlp', 40, 64 + 2560 + 1280, 64, 7680],
    ['mlp/selective', 'mlp', 10, 64 + 640 + 320 + 40, 64, 1920],
    ['mlp/gather-dense', 'mlp', 10, 64 + 640 + 320 + 40, 64, 1920],
  ];

  it.each([
    ...PLAIN_WITH_BIAS.map((row) => [MHA, ...row] as const),
    ...GATED.map((row) => [GQA, ...row] as const),
  ])('%o %s', (model, kernel, scope, neurons, bytesRead, bytesWritten, flops) => {
    const problem = { model, scope, batchSize: 2, kvLen: null };
    expect(trafficOf(problem, candidate(kernel, null, neurons))).toEqual({
      bytesRead,
      bytesWritten,
      bytesMoved: bytesRead + bytesWritten,
      flops,
    });
  });
});

describe('every kernel of the catalog', () => {
  it.each(CATALOG.map((kernel) => [kernel.id, kernel.scope] as const))('%s is counted', (id, scope) => {
    const problem = { model: GQA, scope, batchSize: 1, kvLen: 7 };
    expect(trafficOf(problem, candidate(id, 4, 5)).bytesMoved).toBeGreaterThan(0);
  });

  it('moves more with more active heads, neurons, sequences or positions', () => {
    const kernel = fc.constantFrom(...CATALOG);
    fc.assert(
      fc.property(kernel, fc.nat(500), fc.nat(20), fc.integer({ min: 1, max: 39 }), (k, b, n, a) => {
        const problem = { model: MHA, scope: k.scope, batchSize: b + 1, kvLen: n + 1 };
        const few = trafficOf(problem, candidate(k.id, Math.min(a, 3), a));
        const more = trafficOf(problem, candidate(k.id, Math.min(a, 3) + 1, a + 1));
        const larger = trafficOf({ ...problem, batchSize: b + 2 }, candidate(k.id, Math.min(a, 3), a));
        expect(more.bytesMoved).toBeGreaterThan(few.bytesMoved);
        // A router scores everything, however much it then keeps.
        if (k.scope === 'router') expect(more.flops).toBe(few.flops);
        else expect(more.flops).toBeGreaterThan(few.flops);
        expect(larger.bytesMoved).toBeGreaterThan(few.bytesMoved);
        expect(larger.flops).toBe((few.flops / (b + 1)) * (b + 2));
      }),
    );
  });
});

describe('misuse', () => {
  it.each([
    ['attention/nothing', 4, null, 10],
    ['mlp/dense', 4, 40, 10],
    ['attention/dense', null, null, 10],
    ['attention/dense', 4, null, null],
  ])('%s with heads %j, neurons %j, N %j is a bug', (kernel, heads, neurons, kvLen) => {
    const problem = { model: MHA, scope: 'attention' as const, batchSize: 1, kvLen };
    expect(() => trafficOf(problem, candidate(kernel, heads, neurons))).toThrow(InternalError);
  });

  it('an MLP candidate without neurons is a bug', () => {
    const problem = { model: MHA, scope: 'mlp' as const, batchSize: 1, kvLen: null };
    expect(() => trafficOf(problem, candidate('mlp/dense', null, null))).toThrow(InternalError);
  });
});

import { describe, expect, test } from 'vitest';

import { CATALOG } from '../../../src/core/catalog.js';
import { BACKENDS, DTYPES, SCOPES } from '../../../src/core/cell.js';
import { verifyCases } from '../../../src/plan/verify-cases.js';

const cases = (backend: 'cpu' | 'cuda', randomCases = 5) =>
  verifyCases({ backend, device: 0, dtypes: DTYPES, scopes: SCOPES, seed: 1, randomCases });

describe.each(BACKENDS)('verification cases of %s', (backend) => {
  const all = cases(backend);

  test('every kernel of the backend is verified in both dtypes, at one, some and all of its groups or neurons', () => {
    for (const kernel of CATALOG.filter((k) => k.backends.includes(backend))) {
      for (const dtype of DTYPES) {
        const uses = all
          .filter((c) => c.cell.dtype === dtype && c.expect === 'ok')
          .flatMap((c) => c.cell.candidates.filter((k) => k.kernel === kernel.id).map((k) => ({ c, k })));
        expect(uses.length, `${kernel.id} ${dtype}`).toBeGreaterThan(20);
        if (kernel.selects === null) continue;
        const shares = uses.map(({ c, k }) =>
          kernel.selects === 'heads'
            ? (k.activeHeads ?? 0) / c.cell.model.numQoHeads
            : (k.activeNeurons ?? 0) / c.cell.model.intermediateSize,
        );
        expect(shares).toContain(1);
        expect(Math.min(...shares)).toBeLessThan(0.25);
        expect(shares.some((s) => s > 0.3 && s < 0.9)).toBe(true);
      }
    }
  });

  test('the edge shapes of the methodology are all there', () => {
    const attention = all.filter((c) => c.cell.scope === 'attention');
    const mlp = all.filter((c) => c.cell.scope === 'mlp');
    const has = (values: unknown[], wanted: unknown[]) =>
      expect(values).toEqual(expect.arrayContaining(wanted));
    has(
      attention.map((c) => c.cell.kvLen),
      [1, 63, 64, 65, 1000],
    );
    has(
      attention.map((c) => c.cell.model.headDim),
      [64, 96, 128, 256],
    );
    has(
      attention.map((c) => c.cell.model.numQoHeads / c.cell.model.numKvHeads),
      [1, 4, 6, 8, 16],
    );
    has(
      mlp.map((c) => c.cell.batchSize),
      [1, 3, 8, 17, 64, 65, 512],
    );
    has(
      mlp.map((c) => c.cell.model.activation),
      ['relu', 'gelu', 'gelu-tanh', 'silu'],
    );
    for (const scope of SCOPES) {
      const patterns = all.filter((c) => c.cell.scope === scope).map((c) => c.indexPattern);
      has(patterns, ['random', 'first', 'last', 'every-second', 'explicit']);
    }
  });

  test('wrong index sets are expected to be refused, for selective kernels only', () => {
    const refused = all.filter((c) => c.expect === 'refused');
    expect(refused.length).toBe(DTYPES.length * SCOPES.length * 5);
    for (const c of refused) expect(c.cell.candidates.every((k) => k.variant !== 'dense')).toBe(true);
  });
});

test('random shapes are the same for the same seed and others for another', () => {
  const keys = (seed: number) =>
    verifyCases({
      backend: 'cpu',
      device: 0,
      dtypes: ['bf16'],
      scopes: ['attention'],
      seed,
      randomCases: 9,
    }).map((c) => c.title);
  expect(keys(1)).toEqual(keys(1));
  expect(keys(1)).not.toEqual(keys(2));
});

test('CUDA is asked for the head sizes it has', () => {
  const sizes = cases('cuda', 50).map((c) => c.cell.model.headDim);
  expect(new Set(sizes)).toEqual(new Set([64, 96, 128, 256]));
});

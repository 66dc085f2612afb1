import { describe, expect, test } from 'vitest';

import { CATALOG, routesItself } from '../../../src/core/catalog.js';
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
        const ofHeads = uses.map(({ c, k }) => (k.activeHeads ?? 0) / c.cell.model.numQoHeads);
        const ofNeurons = uses.map(({ c, k }) => (k.activeNeurons ?? 0) / c.cell.model.intermediateSize);
        for (const shares of [
          ...(kernel.selects === 'neurons' ? [] : [ofHeads]),
          ...(kernel.selects === 'heads' ? [] : [ofNeurons]),
        ]) {
          expect(shares).toContain(1);
          expect(Math.min(...shares)).toBeLessThan(0.25);
          expect(shares.some((s) => s > 0.3 && s < 0.9)).toBe(true);
        }
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
      if (routesItself(scope)) expect(new Set(patterns)).toEqual(new Set(['random']));
      else has(patterns, ['random', 'first', 'last', 'every-second', 'explicit']);
    }
  });

  test.each(['router', 'layer', 'step'] as const)('the edges of scope %s', (scope) => {
    const of = all.filter((c) => c.cell.scope === scope);
    const batches = of.map((c) => c.cell.batchSize);
    expect(batches).toEqual(expect.arrayContaining([1, 3, 8, 17, 65]));
    expect(of.every((c) => (c.cell.kvLen === null) === (scope === 'router'))).toBe(true);
    if (scope === 'router') return;
    const models = of.map((c) => c.cell.model);
    const ratios = models.map((m) => m.numQoHeads / m.numKvHeads);
    expect(ratios).toEqual(expect.arrayContaining([1, 4, 6]));
    expect(models.map((m) => m.family)).toEqual(expect.arrayContaining(['opt', 'llama']));
    expect(models.map((m) => m.qkvBias && m.family === 'llama')).toContain(true);
    expect(of.map((c) => c.cell.kvLen)).toContain(1);
  });

  test('polar is verified with everything selected, and in a step with another count in each layer', () => {
    const polar = (scope: string) =>
      all
        .filter((c) => c.cell.scope === scope)
        .flatMap((c) => c.cell.candidates.map((k) => ({ k, m: c.cell.model })))
        .filter(({ k }) => k.variant === 'polar');
    for (const scope of ['layer', 'step']) {
      const isAll = ({ k, m }: ReturnType<typeof polar>[number]) =>
        k.activeHeads === m.numQoHeads && k.activeNeurons === m.intermediateSize;
      expect(polar(scope).some(isAll)).toBe(true);
    }
    expect(polar('layer').every(({ k }) => k.layerActiveNeurons === null)).toBe(true);
    const lists = polar('step').flatMap(({ k, m }) =>
      k.layerActiveNeurons === null ? [] : [[k.layerActiveNeurons, m.numLayers] as const],
    );
    expect(lists.some(([list]) => new Set(list).size === 3)).toBe(true);
    expect(lists.every(([list, layers]) => list.length === layers)).toBe(true);
  });

  test('wrong index sets are expected to be refused, for selective kernels only', () => {
    const refused = all.filter((c) => c.expect === 'refused');
    expect(refused.length).toBe(DTYPES.length * SCOPES.filter((s) => !routesItself(s)).length * 5);
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

import { describe, expect, test } from 'vitest';
import type { UnionCurves } from '../../../src/core/union.js';
import { fitUnionLaw, lawError } from '../../../src/theory/union-fit.js';
import { unionDensity } from '../../../src/theory/union.js';
import {
  layerDensities,
  layerMlpDensitiesFor,
  meanDensity,
  mlpDensityFor,
  scaleToMean,
} from '../../../src/traces/mlp-density.js';
import {
  parseUnionCurves,
  publishedTopkMean,
  publishedUnion,
  publishedUnionModels,
} from '../../../src/traces/published.js';

const file = (change: Record<string, unknown> = {}): string =>
  JSON.stringify({
    model: 'm',
    source: 'Fig. 1; by eye',
    layers: 2,
    intermediate_size: 1000,
    unit: 'percent',
    union_percent_by_batch: { '8': [50, null], '1': [10, 20] },
    ...change,
  });

function curvesOf(name: string): UnionCurves {
  const curves = publishedUnion(name);
  if (curves === null) throw new Error(`no curves of ${name}`);
  return curves;
}

describe('parseUnionCurves', () => {
  test('percent become densities, batch sizes ascend, null stays null', () => {
    const curves = parseUnionCurves(file(), 'm.json');
    expect(curves.batchSizes).toEqual([1, 8]);
    expect(curves.layers[1]).toEqual({
      layer: 1,
      points: [
        { batchSize: 1, density: 0.2 },
        { batchSize: 8, density: null },
      ],
    });
  });

  test.each([
    ['an unknown key', { extra: 1 }, 'm.json'],
    [
      'a percentage above 100',
      { union_percent_by_batch: { '1': [101, 2] } },
      '/union_percent_by_batch/1/0 in m.json',
    ],
    ['a layer too few', { union_percent_by_batch: { '1': [1] } }, 'Expected 2 values, one per layer'],
    ['a batch size that is no count', { union_percent_by_batch: { '0': [1, 2] } }, 'm.json'],
    ['no layers', { layers: 0 }, '/layers in m.json'],
  ])('refuses %s', (_, change, message) => {
    expect(() => parseUnionCurves(file(change), 'm.json')).toThrow(message);
  });
});

describe('published curves', () => {
  test('the package ships four models and the authors’ top-k means', () => {
    expect(publishedUnionModels()).toEqual([
      'opt-6.7b',
      'opt-66b',
      'prosparse-llama-2-7b',
      'relu-llama-2-7b',
    ]);
    for (const name of publishedUnionModels()) expect(curvesOf(name).source).toContain('Polar Sparsity');
    expect(publishedTopkMean('opt-66b')?.points[7]).toEqual({ batchSize: 64, density: 0.49 });
    expect(publishedTopkMean('llama-2-7b')).toBeNull();
    expect(publishedTopkMean('toString')).toBeNull();
    expect(publishedUnion('../models/opt-66b')).toBeNull();
    expect(publishedUnion('topk-mean')).toBeNull();
  });

  // The claim of docs on the law: fitted on three batch sizes it predicts the others, the independent law does not.
  test.each(['opt-66b', 'opt-6.7b'])('%s: law fitted on B = 1, 8, 64', (name) => {
    const heldOut: number[] = [];
    const independent: number[] = [];
    for (const { points } of curvesOf(name).layers) {
      const three = points.filter((p) => [1, 8, 64].includes(p.batchSize));
      if (three.some((p) => p.density === null)) continue;
      const fit = fitUnionLaw(points, 'beta-binomial', [1, 8, 64]);
      if (fit === null) throw new Error('no fit');
      for (const p of points) {
        if (![2, 4, 16, 32, 48].includes(p.batchSize) || p.density === null) continue;
        heldOut.push(Math.abs(unionDensity(fit.law, p.batchSize) - p.density));
      }
      const u64 = points.find((p) => p.batchSize === 64)?.density ?? NaN;
      const u1 = points.find((p) => p.batchSize === 1)?.density ?? NaN;
      independent.push(Math.abs(unionDensity({ kind: 'independent', p: u1 }, 64) - u64));
    }
    const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
    expect(mean(heldOut)).toBeLessThan(0.006);
    expect(Math.max(...heldOut)).toBeLessThan(0.025);
    expect(mean(independent)).toBeGreaterThan(0.09);
  });
});

describe('mlpDensityFor', () => {
  const opt66b = { name: 'opt-66b', intermediateSize: 36_864 };

  test('is the mean over layers of the published curve', () => {
    // Every layer of the figure shows B = 64.
    const points = curvesOf('opt-66b').layers.map((l) => l.points.at(-1)?.density ?? NaN);
    const expected = points.reduce((a, b) => a + b, 0) / 64;
    const got = mlpDensityFor(opt66b, 64);
    expect(got?.density).toBeCloseTo(expected, 12);
    expect(got?.source).toBe('published:Polar Sparsity (NeurIPS 2025 camera-ready), Fig. 2a');
  });

  test('hidden layers take the law, and the source says so', () => {
    expect(mlpDensityFor(opt66b, 1)?.source).toMatch(/^published:.*\(25 of 64 layers by the law\)$/);
  });

  test('batch sizes that are not published are marked', () => {
    expect(mlpDensityFor(opt66b, 24)?.source).toMatch(/^published:.* \(batch 24 interpolated by the law\)$/);
    expect(mlpDensityFor(opt66b, 128)?.source).toMatch(/ \(extrapolated from batch 64 by the law\)$/);
  });

  test('rises with the batch', () => {
    const densities = [1, 2, 4, 8, 16, 24, 32, 48, 64, 128, 512].map(
      (b) => mlpDensityFor(opt66b, b)?.density ?? 0,
    );
    expect(densities).toEqual(densities.toSorted((a, b) => a - b));
    expect(densities[0]).toBeGreaterThan(0.01);
  });

  test('is null for a model without a curve, or another model of the same name', () => {
    expect(mlpDensityFor({ name: 'llama-3-8b', intermediateSize: 14_336 }, 8)).toBeNull();
    expect(mlpDensityFor({ name: 'opt-66b', intermediateSize: 128 }, 8)).toBeNull();
  });

  test('hand-computed: a hidden point, a floor of 16 neurons and a layer without any point', () => {
    const curves: UnionCurves = {
      model: 'm',
      source: 'Fig. 1; by eye',
      intermediateSize: 160,
      batchSizes: [1, 2],
      layers: [
        {
          layer: 0,
          points: [
            { batchSize: 1, density: 0.5 },
            { batchSize: 2, density: null },
          ],
        },
        {
          layer: 1,
          points: [
            { batchSize: 1, density: 0.02 },
            { batchSize: 2, density: 0.04 },
          ],
        },
        {
          layer: 2,
          points: [
            { batchSize: 1, density: null },
            { batchSize: 2, density: null },
          ],
        },
      ],
    };
    // Layer 0: independent law through 0.5 gives 0.75; layer 1: 16 of 160; layer 2: their mean.
    const got = layerDensities(curves, 2);
    expect(got.densities[0]).toBeCloseTo(0.75, 12);
    expect(got.densities[1]).toBeCloseTo(0.1, 12);
    expect(got.densities[2]).toBeCloseTo(0.425, 12);
    expect(got.byLaw).toBe(2);
    expect(meanDensity(curves, 2).source).toBe('published:Fig. 1 (2 of 3 layers by the law)');
  });
});

const OPT_66B = { name: 'opt-66b', intermediateSize: 36_864, numLayers: 64 };

describe('layerMlpDensitiesFor', () => {
  test('OPT curves are scaled to the authors’ mean density', () => {
    const got = layerMlpDensitiesFor(OPT_66B, 64, 'router');
    const mean = (got?.densities ?? []).reduce((a, b) => a + b, 0) / 64;
    expect(mean).toBeCloseTo(0.49, 9);
    expect(got?.source).toContain('scaled to mean 0.49');
    expect(Math.max(...(got?.densities ?? []))).toBeLessThanOrEqual(1);
  });

  const meanAt = (batchSize: number, kind: 'union' | 'router' = 'router', model = OPT_66B) => {
    const list = layerMlpDensitiesFor(model, batchSize, kind)?.densities ?? [];
    return list.reduce((a, b) => a + b, 0) / list.length;
  };

  test('"union" is the curve itself, below what the router computes', () => {
    expect(meanAt(64, 'union')).toBeCloseTo(0.436, 3);
    expect(layerMlpDensitiesFor(OPT_66B, 64, 'union')?.source).not.toContain('scaled');
  });

  test('between two batch sizes of the table the mean lies on a line over log2(B)', () => {
    // 0.374 at 32 and 0.442 at 48: at 40, log2(40/32) / log2(48/32) = 0.55034 of the way
    expect(meanAt(40)).toBeCloseTo(0.41142, 4);
    expect(layerMlpDensitiesFor(OPT_66B, 40, 'router')?.source).toContain('between batches 32 and 48');
  });

  test('past the end of the table it grows as the union does, and never falls', () => {
    const means = [64, 128, 256, 512, 4096].map((b) => meanAt(b));
    expect(means).toEqual(means.toSorted((a, b) => a - b));
    expect(means[3]).toBeCloseTo((0.641 * meanAt(512, 'union')) / meanAt(256, 'union'), 6);
    expect(means[4]).toBeLessThanOrEqual(1);
  });

  test('a table without a curve is the same in every layer; no table and no curve is nothing', () => {
    const opt30 = { name: 'opt-30b', intermediateSize: 28_672, numLayers: 48 };
    expect(layerMlpDensitiesFor(opt30, 64, 'router')).toEqual({
      densities: Array.from({ length: 48 }, () => 0.53),
      source: "published:mean 0.53 of the authors' top-k table, in every layer",
    });
    expect(layerMlpDensitiesFor(opt30, 64, 'union')).toBeNull();
    expect(layerMlpDensitiesFor({ ...opt30, name: 'opt-13b' }, 64, 'router')).toBeNull();
  });

  test.each([
    ['layers', { ...OPT_66B, numLayers: 63 }],
    ['neurons', { ...OPT_66B, intermediateSize: 100 }],
  ])('a model that shares only its name, with other %s, has none', (_what, model) => {
    expect(layerMlpDensitiesFor(model, 64, 'union')).toBeNull();
  });

  test('scaling keeps 1 as the ceiling', () => {
    const got = scaleToMean([0.8, 0.2], 0.7);
    expect(got[0]).toBe(1);
    expect(got[1]).toBeCloseTo(0.4, 9);
  });
});

test('the law errs little over all points of every published model', () => {
  for (const name of publishedUnionModels()) {
    const errors = curvesOf(name).layers.map((layer) => {
      const fit = fitUnionLaw(layer.points, 'beta-binomial');
      return fit === null ? 0 : (lawError(fit.law, layer.points)?.meanAbsolute ?? 0);
    });
    expect(errors.reduce((a, b) => a + b, 0) / errors.length).toBeLessThan(0.006);
  }
});

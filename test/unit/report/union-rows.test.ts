import { describe, expect, test } from 'vitest';
import type { UnionCurves } from '../../../src/core/union.js';
import { curveRows, lawRows, meanRows, measuredRows, UNION_COLUMNS } from '../../../src/report/union-rows.js';
import { fitLayers, summarizeFits } from '../../../src/theory/union-curves.js';

const curves: UnionCurves = {
  model: 'm',
  source: 'Fig. 1',
  intermediateSize: 100,
  batchSizes: [1, 2],
  layers: [
    {
      layer: 0,
      points: [
        { batchSize: 1, density: 0.5 },
        { batchSize: 2, density: 0.75 },
      ],
    },
    {
      layer: 1,
      points: [
        { batchSize: 1, density: null },
        { batchSize: 2, density: 0.25 },
      ],
    },
  ],
};

describe('curveRows', () => {
  test('hand-computed rows and means; what a figure hides is not zero', () => {
    const rows = curveRows(curves, [1, 2, 4], null);
    expect(rows).toHaveLength(6);
    expect(rows[1]).toMatchObject({
      layer: 0,
      batch_size: 2,
      union_density_mean: 0.75,
      active_neurons_mean: 75,
    });
    expect(rows[3]).toMatchObject({
      layer: 1,
      union_density_mean: null,
      active_neurons_mean: null,
      warnings: 'not published',
    });
    const means = meanRows(rows);
    expect(means.map((r) => [r.batch_size, r.union_density_mean, r.warnings])).toEqual([
      [1, 0.5, 'mean of 1 of 2 layers'],
      [2, 0.5, null],
      [4, null, 'mean of 0 of 2 layers'],
    ]);
    expect(means[0]?.layer).toBe('mean');
    expect(Object.keys(rows[0]!)).toEqual([...UNION_COLUMNS]);
    expect(curveRows(curves, [1], [1]).map((r) => r.layer)).toEqual([1]);
  });
});

describe('lawRows', () => {
  test('say what they were fitted on and where they extrapolate', () => {
    const fits = fitLayers(curves, 'beta-binomial');
    const rows = lawRows({ model: 'm', source: 'law', neurons: 100 }, fits, [2, 4], null);
    expect(rows[0]?.law_alpha).toBeGreaterThan(0);
    expect(rows[0]?.warnings).toBeNull();
    expect(rows[1]?.warnings).toBe('extrapolated from batch 2');
    // Layer 1 has one point: p = 1 - sqrt(0.75), so B = 4 gives 1 - 0.75^2.
    expect(rows[3]?.union_density_mean).toBeCloseTo(1 - 0.75 ** 2, 12);
    expect(rows[3]).toMatchObject({ law_alpha: null, law_beta: null });
    expect(rows[3]?.warnings).toContain('one point only (batch 2)');
  });
});

test('measuredRows carry spread and trials', () => {
  const rows = measuredRows({
    model: 'm',
    source: 'trace:a',
    intermediateSize: 10,
    layers: [
      { layer: 4, tokens: 9, warnings: ['w'], points: [{ batchSize: 3, density: 0.2, std: 0.1, trials: 3 }] },
    ],
  });
  expect(rows).toEqual([
    {
      model: 'm',
      layer: 4,
      batch_size: 3,
      union_density_mean: 0.2,
      union_density_std: 0.1,
      active_neurons_mean: 2,
      trials: 3,
      source: 'trace:a',
      law_alpha: null,
      law_beta: null,
      warnings: 'w',
    },
  ]);
});

test('fits hold out what they did not need', () => {
  const points = [1, 2, 8, 64].map((batchSize) => ({ batchSize, density: 1 - 0.9 ** batchSize }));
  const fits = fitLayers(
    {
      ...curves,
      batchSizes: [1, 2, 8, 64],
      layers: [
        { layer: 0, points },
        { layer: 1, points: [] },
      ],
    },
    'independent',
  );
  expect(fits[0]?.heldOut.map((p) => p.batchSize)).toEqual([2]);
  const summary = summarizeFits(fits);
  expect(summary).toMatchObject({ layers: 1, allLayers: 2 });
  expect(summary.heldOut?.points).toBe(1);
  expect(summary.heldOut?.worst).toBeLessThan(1e-12);
});

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { Row } from '../../../src/core/row.js';
import { loadModel } from '../../../src/models/load.js';
import { measuredPolarMaps, predictedPolarMap } from '../../../src/report/polar-map.js';
import { readRowsCsv } from '../../../src/sinks/read.js';
import { polarMapSvg } from '../../../src/sinks/plots-map.js';
import { measuredRow } from '../claims/rows.js';

const H200 = resolve(import.meta.dirname, '../../../results/h200');
const at = (kernel: string, us: number, batch: number, more: Partial<Row> = {}): Row =>
  measuredRow(kernel, us, { model: 'm', batch_size: batch, kv_len: 100, density_source: 'default', ...more });
const headSparse = { variant: 'head-sparse', active_heads: 4 } as const;

/** One layer at B: attention 10 B dense and 5 B sparse; MLP 40 dense, 10 sparse at B=1 and 30 at B=8. */
const kernels = [1, 8].flatMap((b) => [
  at('attention/dense', 10 * b, b),
  at('attention/selective-head', 5 * b, b, headSparse),
  at('mlp/dense', 40, b, { kv_len: null }),
  at('mlp/selective', b === 1 ? 10 : 30, b, { kv_len: null, active_neurons: 10 + b }),
]);

describe('a map of kernels', () => {
  const [map] = measuredPolarMaps(kernels);

  test('adds attention and MLP of the same batch size', () => {
    expect(map?.basis).toBe('kernels');
    expect(map?.cells.map((c) => c.times)).toEqual([
      { dense: 50, 'mlp-sparse': 20, 'head-sparse': 45, polar: 15 },
      { dense: 120, 'mlp-sparse': 110, 'head-sparse': 80, polar: 70 },
    ]);
    expect(map?.cells[0]).toMatchObject({ winner: 'polar', speedup: 50 / 15, rows: [2, 3, 4, 5] });
  });

  test('the crossover is where both sparsities save the same', () => {
    // 20/45 at 1 and 110/80 at 8: ln(45/20) / ln((110/80) / (20/45)) of three octaves.
    const share = Math.log(45 / 20) / Math.log(110 / 80 / (20 / 45));
    expect(map?.crossover).toEqual([{ kvLen: 100, batchSize: expect.closeTo(8 ** share, 9) }]);
  });

  test('a sparse time is the dense one over the paired speedup, whatever the medians did', () => {
    const drifted = kernels.map((r): Row => (r.kernel === 'mlp/selective' ? { ...r, speedup: 2 } : r));
    expect(measuredPolarMaps(drifted)[0]?.cells[0]?.times['mlp-sparse']).toBe(10 + 40 / 2);
  });

  test('attention alone is no map, and neither is a sweep of densities without one of its own', () => {
    expect(measuredPolarMaps(kernels.filter((r) => r.scope === 'attention'))).toEqual([]);
    const flags = kernels.map((r): Row => (r.variant === 'dense' ? r : { ...r, density_source: 'flag' }));
    // One density that was asked for is the density; two are a question.
    expect(measuredPolarMaps(flags)).toHaveLength(1);
    const two = flags.flatMap((r) =>
      r.variant === 'dense' ? [r] : [r, { ...r, active_heads: 2, active_neurons: 3 }],
    );
    expect(measuredPolarMaps(two)).toEqual([]);
  });
});

test('decode steps that were measured take the place of sums, and dense may win', () => {
  const step = (kernel: string, us: number, variant: Row['variant']): Row =>
    at(kernel, us, 4, { variant, scope: 'step' as Row['scope'] });
  const rows = [
    ...kernels,
    step('step/dense', 100, 'dense'),
    step('step/mlp-sparse', 120, 'mlp-sparse'),
    step('step/head-sparse', 110, 'head-sparse'),
    step('step/polar', 130, 'polar'),
  ];
  const [map] = measuredPolarMaps(rows);
  expect(map).toMatchObject({ basis: 'step', crossover: [{ kvLen: 100, batchSize: null }] });
  expect(map?.cells).toEqual([
    expect.objectContaining({ batchSize: 4, winner: 'dense', speedup: 1, lever: 120 / 110 }),
  ]);
});

test('the committed map of OPT-66B', () => {
  const [map] = measuredPolarMaps(readRowsCsv(resolve(H200, 'opt-66b-union/rows.csv')));
  const last = map?.cells.at(-1);
  // Medians at batch 64: 975.327 + 330.208 over 295.215 + 185.824 us; paired ratios differ by a few thousandths.
  expect(last?.speedup).toBeCloseTo((975.327 + 330.208) / (295.215 + 185.824), 2);
  expect(map?.cells.map((c) => c.winner)).toEqual(Array.from({ length: 7 }, () => 'polar'));
});

describe('a prediction', () => {
  const spec = { name: 'a100-80gb', readGbPerS: 2039, matrixTflopPerS: 312, source: 'datasheet' };
  const map = predictedPolarMap(loadModel('llama-2-7b'), spec, () => ({ heads: 0.5, mlp: null }));

  test('is labelled, has no rows, and no MLP sparsity without a density', () => {
    expect(map).toMatchObject({ basis: 'predicted', device: 'a100-80gb' });
    expect(map.cells.every((c) => c.rows.length === 0 && c.times['mlp-sparse'] === null)).toBe(true);
  });

  test('the gain of head sparsity grows with the context', () => {
    const gains = map.cells.filter((c) => c.batchSize === 64).map((c) => c.speedup);
    expect(gains).toEqual(gains.toSorted((a, b) => a - b));
  });

  test('the picture says that it is one', async () => {
    const svg = await polarMapSvg(map);
    expect(svg).toContain('(predicted)');
    expect(svg).toContain('nothing measured');
  });
});

test('every device file has a source and says that nothing was measured', () => {
  for (const name of ['a100-80gb', 'h100-sxm', 'h200']) {
    const file = resolve(import.meta.dirname, '../../../configs/devices', `${name}.json`);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      name,
      source: expect.stringMatching(/not measured/),
    });
  }
});

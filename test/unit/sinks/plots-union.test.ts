import { describe, expect, test } from 'vitest';
import type { UnionRow } from '../../../src/core/union.js';
import { unionByBatchSvg, unionByLayerSvg } from '../../../src/sinks/plots-union.js';

const row = (layer: number, batch: number, density: number | null): UnionRow => ({
  model: 'm',
  layer,
  batch_size: batch,
  union_density_mean: density,
  union_density_std: null,
  active_neurons_mean: null,
  trials: null,
  source: 's',
  law_alpha: null,
  law_beta: null,
  warnings: null,
});
const rows = [
  row(0, 1, 0.1),
  row(1, 1, null),
  row(2, 1, 0.3),
  row(0, 8, 0.4),
  row(1, 8, 0.5),
  row(2, 8, 0.6),
];

describe('unionByLayerSvg', () => {
  test('one line per batch size, no point where there is no density', async () => {
    const svg = await unionByLayerSvg('m <&\u001b[31m', 'Fig. 1; by eye', rows);
    expect(svg).toMatch(/^<svg/);
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(2);
    expect(svg.match(/aria-roledescription="point"/g)).toHaveLength(5);
    expect(svg).toContain('Union of active neurons: m &lt;&amp;');
    expect(svg).not.toContain('\u001b');
    expect(svg).toContain('by eye');
  });
});

describe('unionByBatchSvg', () => {
  test('the law is solid up to the last batch and dashed beyond', async () => {
    const law = [1, 8, 64, 512].map((b) => row(0, b, b / 1024));
    const svg = await unionByBatchSvg(
      'm',
      's',
      rows.filter((r) => r.layer === 0),
      law,
      8,
    );
    expect(svg.match(/aria-roledescription="line mark"/g)).toHaveLength(2);
    expect(svg.match(/aria-roledescription="point"/g)).toHaveLength(2);
    expect(svg).toContain('stroke-dasharray="5,4"');
    expect(svg).toContain('extrapolated');
  });
});

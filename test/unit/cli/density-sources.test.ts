import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { densitySources } from '../../../src/cli/density-sources.js';
import { loadModel } from '../../../src/models/load.js';
import { expandSweep } from '../../../src/plan/expand.js';
import { temporaryFolder } from '../traces/support/files.js';

const folder = temporaryFolder();

/** Density source and active neurons of the sparse candidates, by batch size. */
function planned(model: string, batchSizes: number[], mlpTopk: string | null, union = false): unknown[] {
  const { cells } = expandSweep(
    {
      models: [loadModel(model)],
      backend: 'cpu',
      scopes: ['mlp'],
      batchSizes,
      ...(union ? { mlpDensities: 'union' as const } : {}),
    },
    densitySources(mlpTopk),
  );
  return cells.flatMap((cell) =>
    cell.candidates
      .filter((c) => c.kernel === 'mlp/selective')
      .map((c) => [cell.batchSize, c.activeNeurons, c.densitySource]),
  );
}

describe('densitySources', () => {
  test('a published curve is the default of its model, and what "union" means', () => {
    const [row] = planned('opt-66b', [64], null) as [number, number, string][];
    // Mean over the 64 layers at B = 64: 43.6 % of 36,864.
    expect(row?.[1]).toBeGreaterThan(0.43 * 36_864);
    expect(row?.[1]).toBeLessThan(0.44 * 36_864);
    expect(row?.[2]).toMatch(/^published:Polar Sparsity/);
    expect(planned('opt-66b', [64], null, true)).toEqual(planned('opt-66b', [64], null));
  });

  test('"union" grows with the batch and marks a batch size that is not published', () => {
    const rows = planned('opt-66b', [1, 8, 24, 64], null, true) as [number, number, string][];
    const neurons = rows.map((r) => r[1]);
    expect(neurons).toEqual(neurons.toSorted((a, b) => a - b));
    expect(rows[2]?.[2]).toContain('batch 24 interpolated by the law');
  });

  test('a model without a curve keeps its default, and refuses "union"', () => {
    expect((planned('llama-2-7b', [8], null)[0] as unknown[])[2]).toBe('default');
    expect(() => planned('llama-2-7b', [8], null, true)).toThrow('Expected a published union curve');
  });

  test('a top-k table decides where one is named', () => {
    const path = join(folder, 'k.csv');
    writeFileSync(path, 'layer,batch_size,optimal_k\n0,1,100\n1,1,201\n0,8,300\n1,8,400\n');
    expect(planned('tiny-opt', [1, 8], path)).toEqual([
      [1, 151, `topk:${path}`],
      [8, 350, `topk:${path}`],
    ]);
    expect((planned('tiny-opt', [4], path)[0] as unknown[])[2]).toBe(`topk:${path} (batch 4 by the law)`);
    expect(() => planned('opt-66b', [1], path)).toThrow('Expected 64 layers ("opt-66b")');
  });
});

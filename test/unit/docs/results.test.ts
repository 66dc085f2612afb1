import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { blockDefaults } from '../../../src/core/model-shape.js';
import { readPlan } from '../../../src/sinks/plan-file.js';
import { readRowsCsv, readSamples } from '../../../src/sinks/read.js';

const RESULTS = resolve(import.meta.dirname, '../../../results');
const folders = readdirSync(RESULTS).flatMap((device) =>
  readdirSync(join(RESULTS, device)).map((run) => join(device, run)),
);

/** Folders of older versions lack what later scopes need; they must stay readable all the same. */
describe('committed results', () => {
  test.each(folders)('%s: plan, samples and rows belong together', (name) => {
    const path = (file: string) => join(RESULTS, name, file);
    const { plan } = readPlan(path('plan.json'), name);
    const { records, truncation } = readSamples(path('samples.jsonl'));
    const rows = readRowsCsv(path('rows.csv'));
    expect(truncation).toBeNull();
    expect(records.map((r) => r.cell.key)).toEqual(plan.cells.map((cell) => cell.key));
    expect(rows.map((row) => row.kernel)).toEqual(
      records.flatMap((r) => r.cell.candidates.map((c) => c.kernel)),
    );
    expect(typeof plan.breakdown).toBe('boolean');
    for (const { cell } of records) {
      expect(Object.keys(cell.model)).toEqual(
        expect.arrayContaining(Object.keys(blockDefaults(cell.model.family))),
      );
      for (const candidate of cell.candidates) expect(candidate.layerActiveNeurons).not.toBeUndefined();
    }
  });
});

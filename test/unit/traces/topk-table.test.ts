import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TraceError } from '../../../src/core/errors.js';
import {
  loadTopkTable,
  makeTopkTable,
  parseTopkCsv,
  topkCsv,
  topkNeuronsFor,
  topkPerLayer,
} from '../../../src/traces/topk-table.js';
import { temporaryFolder } from './support/files.js';

const folder = temporaryFolder();
const HEAD = 'layer,batch_size,optimal_k\n';
const table = (body: string): ReturnType<typeof makeTopkTable> =>
  makeTopkTable(parseTopkCsv(HEAD + body, 't.csv'), '"t.csv"');
const model = { name: 'm', intermediateSize: 1000, numLayers: 2 };

describe('reading', () => {
  test('one file with all batch sizes, in any order', () => {
    const got = table('1,8,300\n0,1,10\n1,1,20\n0,8,200\n');
    expect(got.batchSizes).toEqual([1, 8]);
    expect(got.byBatch.get(8)).toEqual([200, 300]);
    expect(got.numLayers).toBe(2);
  });

  test('a folder with one file per batch size, as the authors write it', () => {
    const dir = join(folder, 'opt');
    mkdirSync(dir);
    for (const [b, k] of [
      [1, 10],
      [16, 90],
    ]) {
      writeFileSync(
        join(dir, `mlp_router_configs_bsize_${b}.csv`),
        `${HEAD}0,${b},${k}\r\n1,${b},${k! + 1}\r\n`,
      );
    }
    writeFileSync(join(dir, 'notes.txt'), 'not a table');
    const got = loadTopkTable(dir);
    expect(got.batchSizes).toEqual([1, 16]);
    expect(got.byBatch.get(16)).toEqual([90, 91]);
  });

  test('writing and reading is the identity', () => {
    const entry = fc.record({
      layer: fc.nat(3),
      batchSize: fc.constantFrom(1, 2, 64),
      optimalK: fc.integer({ min: 1, max: 9999 }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: (e) => `${e.layer} ${e.batchSize}` }), (entries) => {
        const back = parseTopkCsv(topkCsv(entries), 'f').map(({ layer, batchSize, optimalK }) => ({
          layer,
          batchSize,
          optimalK,
        }));
        expect(back).toEqual(entries.toSorted((a, b) => a.batchSize - b.batchSize || a.layer - b.layer));
      }),
    );
  });

  test.each([
    ['another header', 'layer,batch,k\n0,1,2\n', 'Expected layer,batch_size,optimal_k for line 1 of t.csv'],
    ['an empty file', '', 'line 1 of t.csv'],
    ['a header only', HEAD, 'Expected at least one row'],
    ['a missing field', `${HEAD}0,1\n`, 'for line 2 of t.csv, got "0,1"'],
    ['a field too many', `${HEAD}0,1,2,3\n`, 'line 2 of t.csv'],
    ['an empty line in the middle', `${HEAD}0,1,2\n\n1,1,2\n`, 'line 3 of t.csv'],
    ['a negative layer', `${HEAD}-1,1,2\n`, 'for layer of line 2 of t.csv, got "-1"'],
    ['batch size 0', `${HEAD}0,0,2\n`, 'Expected an integer from 1 for batch_size of line 2'],
    ['k = 0', `${HEAD}0,1,0\n`, 'Expected an integer from 1 for optimal_k of line 2'],
    ['a fraction', `${HEAD}0,1,2.5\n`, 'optimal_k of line 2 of t.csv, got "2.5"'],
    ['a huge number', `${HEAD}0,1,9999999999\n`, 'optimal_k of line 2'],
    ['a huge layer', `${HEAD}999999999,1,1\n`, 'Expected a layer below 4096 for line 2'],
    [
      'a repeated row',
      `${HEAD}0,1,2\n1,1,2\n0,1,3\n`,
      'Expected layer 0 at batch size 1 once for line 4 of t.csv',
    ],
    [
      'a missing layer',
      `${HEAD}0,1,2\n2,1,2\n`,
      'Expected layers 0 to 2 at batch size 1 for "t.csv", got no layer 1',
    ],
    [
      'a layer missing at one batch size',
      `${HEAD}0,1,2\n1,1,2\n0,8,2\n`,
      'at batch size 8 for "t.csv", got no layer 1',
    ],
  ])('refuses %s', (_, text, message) => {
    const read = (): unknown => makeTopkTable(parseTopkCsv(text, 't.csv'), '"t.csv"');
    expect(read).toThrow(TraceError);
    expect(read).toThrow(message);
  });

  test('any text is a table or a TraceError', () => {
    const piece = fc.constantFrom('0', '1', ',', '\n', '\r', '-', 'x', ' ', '.', HEAD, '0,1,5\n', '\uFEFF');
    let tables = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        try {
          makeTopkTable(parseTopkCsv(HEAD + pieces.join(''), 'f'), 'f');
          tables++;
        } catch (error) {
          if (!(error instanceof TraceError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
    expect(tables).toBeGreaterThan(0);
  });

  test('refuses paths that hold no table', () => {
    expect(() => loadTopkTable(join(folder, 'absent'))).toThrow(
      'Expected a CSV file or a folder for --mlp-topk',
    );
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    expect(() => loadTopkTable(empty)).toThrow('Expected *.csv files for --mlp-topk, got none');
  });
});

describe('topkNeuronsFor', () => {
  const two = table('0,1,10\n1,1,21\n0,8,200\n1,8,300\n');

  test('averages the layers and rounds', () => {
    expect(topkNeuronsFor(two, model, 1)).toEqual({
      activeNeurons: 16,
      layerActiveNeurons: [10, 21],
      source: 'topk:t.csv',
    });
    expect(topkNeuronsFor(two, model, 8).activeNeurons).toBe(250);
  });

  test('a missing batch size comes from the law and says so', () => {
    const got = topkNeuronsFor(two, model, 4);
    expect(got.source).toBe('topk:t.csv (batch 4 by the law)');
    expect(got.activeNeurons).toBeGreaterThan(16);
    expect(got.activeNeurons).toBeLessThan(250);
    expect(topkPerLayer(two, 1000, 4).interpolated).toBe(true);
    // One batch size only: 1 - (1 - 0.1)^2 = 0.19 of 1000.
    expect(topkPerLayer(table('0,1,100\n'), 1000, 2).ks).toEqual([190]);
  });

  test('refuses k above D and tables of another model', () => {
    expect(() => topkNeuronsFor(two, { ...model, intermediateSize: 299 }, 1)).toThrow(
      'Expected optimal_k up to 299 (neurons) for layer 1 at batch size 8 of "t.csv", got 300',
    );
    expect(() => topkNeuronsFor(two, { ...model, numLayers: 3 }, 1)).toThrow(
      'Expected 3 layers ("m") for "t.csv", got 2',
    );
  });
});

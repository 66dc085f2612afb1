import { expect, test } from 'vitest';

import { mergeCells } from '../../../src/plan/merge-cells.js';
import { candidate, cell, selectiveHead } from '../../support/cells.js';

const kernels = (cells: ReturnType<typeof mergeCells>): string[][] =>
  cells.map((c) => c.candidates.map((k) => `${k.kernel} ${k.activeHeads}`));

test('cells of one problem become one, with each candidate once', () => {
  const merged = mergeCells([
    cell({ candidates: [candidate(), selectiveHead(4)] }),
    cell({ candidates: [candidate(), selectiveHead(2), selectiveHead(4)] }),
  ]);
  expect(kernels(merged)).toEqual([
    ['attention/dense 8', 'attention/selective-head 4', 'attention/selective-head 2'],
  ]);
  // The key is that of the whole cell: resuming compares it.
  expect(merged[0]?.key).toBe(cell({ candidates: [candidate(), selectiveHead(4), selectiveHead(2)] }).key);
});

test('other batch sizes, lengths and seeds stay apart, in the order of their first cell', () => {
  const merged = mergeCells([cell({ batchSize: 4 }), cell(), cell({ batchSize: 4 }), cell({ seed: 2 })]);
  expect(merged.map((c) => [c.batchSize, c.seed])).toEqual([
    [4, 1],
    [2, 1],
    [2, 2],
  ]);
});

test('a density that was only typed gives way to one with a source', () => {
  const critical = { ...selectiveHead(4), densitySource: 'critical:the paper' };
  const sources = (first: typeof critical, second: typeof critical) =>
    mergeCells([cell({ candidates: [first] }), cell({ candidates: [second] })]).flatMap((c) =>
      c.candidates.map((k) => k.densitySource),
    );
  expect(sources(selectiveHead(4), critical)).toEqual(['critical:the paper']);
  expect(sources(critical, selectiveHead(4))).toEqual(['critical:the paper']);
});

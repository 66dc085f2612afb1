import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { randomBatches } from '../../../src/traces/batches.js';
import { headStatistics } from '../../../src/traces/heads.js';
import { measureTopk, type TopkOptions } from '../../../src/traces/router-topk.js';
import { decodeFloats } from '../../../src/traces/rows.js';
import { makeTopkTable, parseTopkCsv, topkCsv, topkNeuronsFor } from '../../../src/traces/topk-table.js';
import { openTrace } from '../../../src/traces/trace.js';
import { floats, masks, temporaryFolder, writeSafetensors, type Tensor } from './support/files.js';

const folder = temporaryFolder();
const write = (name: string, tensors: readonly Tensor[]): ReturnType<typeof openTrace> =>
  openTrace([writeSafetensors(join(folder, name), tensors)]);

describe('randomBatches', () => {
  test('use every token at most once, with the seed’s choice', () => {
    const batches = randomBatches(10, 3, 100, 5);
    expect(batches.map((b) => b.length)).toEqual([3, 3, 3]);
    expect(new Set(batches.flatMap((b) => [...b])).size).toBe(9);
    expect(randomBatches(10, 3, 100, 5)).toEqual(batches);
    expect(randomBatches(10, 3, 100, 6)).not.toEqual(batches);
    expect(randomBatches(10, 3, 2, 5)).toEqual(batches.slice(0, 2));
  });
});

test('decodeFloats: half, bfloat16 and single precision', () => {
  const out = new Float32Array(4);
  // 1.5, -2, smallest denormal, NaN
  decodeFloats(Uint8Array.of(0x00, 0x3e, 0x00, 0xc0, 0x01, 0x00, 0x01, 0x7c), 'F16', out);
  expect([...out]).toEqual([1.5, -2, 2 ** -24, NaN]);
  decodeFloats(Uint8Array.of(0xc0, 0x3f, 0x00, 0xc0, 0x80, 0x7f, 0xc0, 0x7f), 'BF16', out);
  expect([...out]).toEqual([1.5, -2, Infinity, NaN]);
  decodeFloats(new Uint8Array(Float32Array.of(1, -2, 3.5, 0).buffer), 'F32', out);
  expect([...out]).toEqual([1, -2, 3.5, 0]);
});

const topk: TopkOptions = {
  batchSizes: [1],
  layers: null,
  recall: 1,
  start: 2,
  step: 2,
  trials: 64,
  seed: 1,
};

describe('measureTopk', () => {
  // Token t activates neurons 0..a(t)-1; the router scores neuron j by -j, but ranks neuron 7 first in layer 1.
  const active = [3, 5, 5, 5].map((n) => Array.from({ length: n }, (_, j) => j));
  const logits = active.map(() => [8, 7, 6, 5, 4, 3, 2, 1]);
  const misled = active.map(() => [8, 7, 6, 5, 4, 3, 2, 9]);

  test('a known answer is found exactly', () => {
    const trace = write('topk.safetensors', [
      masks(0, 8, active),
      floats('layers.0.mlp.router_logits', logits),
      masks(1, 8, active),
      floats('layers.1.mlp.router_logits', misled),
    ]);
    const got = measureTopk(trace, { ...topk, batchSizes: [1, 4] });
    // Full recall needs 5 neurons, one more where the router puts an idle neuron first.
    expect(got.map((r) => [r.layer, r.batchSize, r.exactK, r.greedyK, r.batches])).toEqual([
      [0, 1, 5, 6, 4],
      [0, 4, 5, 6, 1],
      [1, 1, 6, 6, 4],
      [1, 4, 6, 6, 1],
    ]);
    // Three neurons recall (1 + 3 * 3/5) / 4 = 0.7 of a token's.
    expect(measureTopk(trace, { ...topk, recall: 0.7 })[0]?.exactK).toBe(3);
    expect(measureTopk(trace, { ...topk, recall: 0.71 })[0]?.exactK).toBe(4);
  });

  test('activations serve as well as masks, and their table feeds --mlp-topk', () => {
    const trace = write('act.safetensors', [
      floats(
        'layers.0.mlp.activations',
        active.map((row) => Array.from({ length: 8 }, (_, j) => (row.includes(j) ? 1 : -1))),
      ),
      floats('layers.0.mlp.router_logits', logits),
    ]);
    const rows = measureTopk(trace, { ...topk, batchSizes: [1, 2] });
    const csv = topkCsv(rows.map((r) => ({ layer: r.layer, batchSize: r.batchSize, optimalK: r.exactK })));
    expect(csv).toBe('layer,batch_size,optimal_k\n0,1,5\n0,2,5\n');
    const table = makeTopkTable(parseTopkCsv(csv, 'a.csv'), '"a.csv"');
    expect(topkNeuronsFor(table, { name: 'm', intermediateSize: 8, numLayers: 1 }, 2)).toEqual({
      activeNeurons: 5,
      layerActiveNeurons: [5],
      source: 'topk:a.csv',
    });
  });

  test('refuses traces without logits and batches larger than the trace', () => {
    const bare = write('bare.safetensors', [masks(0, 8, active)]);
    expect(() => measureTopk(bare, topk)).toThrow('Expected layers.<i>.mlp.router_logits beside activations');
    const trace = write('short.safetensors', [
      masks(0, 8, active),
      floats('layers.0.mlp.router_logits', logits),
    ]);
    expect(() => measureTopk(trace, { ...topk, batchSizes: [8] })).toThrow(
      'Expected at most 4 (tokens of layers.0.mlp.active)',
    );
    expect(() => measureTopk(trace, { ...topk, layers: [2] })).toThrow('Expected layers.2.mlp.router_logits');
  });

  test('refuses masks with bits past D', () => {
    const padded = masks(0, 6, [[0], [1, 7]]);
    const trace = write('padded.safetensors', [
      padded,
      floats('layers.0.mlp.router_logits', [Array(6).fill(1), Array(6).fill(1)]),
    ]);
    expect(() => measureTopk(trace, topk)).toThrow('Expected no bit set past neuron 5 for token 1');
  });
});

describe('headStatistics', () => {
  const options = { topK: 2, batchSizes: [1, 2, 4], trials: 100, seed: 1 };

  test('hand-computed: the same heads for all tokens', () => {
    const trace = write('same.safetensors', [
      floats(
        'layers.3.attention.head_norms',
        Array.from({ length: 4 }, () => [1, 4, 2, 3]),
      ),
    ]);
    expect(headStatistics(trace, options)).toEqual([
      {
        layer: 3,
        tokens: 4,
        counts: [0, 4, 0, 4],
        overlap: 1,
        batches: [1, 2, 4].map((batchSize) => ({ batchSize, kvShare: 0.5, unionShare: 0.5 })),
      },
    ]);
  });

  test('hand-computed: disjoint heads; what a sequence reads does not grow with the batch, the union does', () => {
    const trace = write('disjoint.safetensors', [
      floats('layers.0.attention.head_norms', [
        [9, 9, 1, 1],
        [1, 1, 9, 9],
      ]),
    ]);
    const [layer] = headStatistics(trace, { ...options, batchSizes: [1, 2] });
    expect(layer?.counts).toEqual([1, 1, 1, 1]);
    expect(layer?.overlap).toBe(0);
    expect(layer?.batches.map((b) => [b.kvShare, b.unionShare])).toEqual([
      [0.5, 0.5],
      [0.5, 1],
    ]);
  });

  test('refuses what does not fit', () => {
    const trace = write('heads.safetensors', [
      floats('layers.0.attention.head_norms', [
        [1, 2],
        [3, NaN],
      ]),
    ]);
    expect(() => headStatistics(trace, { ...options, topK: 3 })).toThrow('Expected 1 to 2 heads');
    expect(() => headStatistics(trace, { ...options, topK: 0 })).toThrow('Expected 1 to 2 heads');
    expect(() => headStatistics(trace, options)).toThrow(
      'Expected at most 2 (tokens of layers.0.attention.head_norms)',
    );
    expect(() => headStatistics(trace, { ...options, batchSizes: [1] })).toThrow(
      'Expected numbers for token 1 of layers.0',
    );
    const bare = write('nohead.safetensors', [masks(0, 8, [[1]])]);
    expect(() => headStatistics(bare, options)).toThrow('Expected layers.<i>.attention.head_norms');
  });
});

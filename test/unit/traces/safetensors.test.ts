import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TraceError } from '../../../src/core/errors.js';
import { headerLength, parseHeader, type SafetensorsFile } from '../../../src/traces/safetensors.js';
import { openSafetensors, openTrace } from '../../../src/traces/trace.js';
import {
  floats,
  masks,
  safetensorsBytes,
  temporaryFolder,
  withHeader,
  writeSafetensors,
} from './support/files.js';

const folder = temporaryFolder();

/** As a reader of the file does it, from bytes. */
function parse(bytes: Uint8Array): SafetensorsFile {
  const length = headerLength(bytes.subarray(0, 8), bytes.byteLength, 'f');
  return parseHeader(bytes.subarray(8, 8 + length), bytes.byteLength, 'f');
}

const tensor = (offsets: unknown, shape: unknown = [2, 2], dtype: unknown = 'U8'): string =>
  JSON.stringify({ a: { dtype, shape, data_offsets: offsets } });
const four = new Uint8Array(4);

describe('parseHeader', () => {
  test('reads back what was written', () => {
    const bytes = safetensorsBytes([masks(3, 9, [[0, 8], [1]]), floats('x', [[1, 2]])], { model: 'm' });
    const file = parse(bytes);
    expect(file.metadata.get('model')).toBe('m');
    const mask = file.tensors.get('layers.3.mlp.active');
    expect(mask?.shape).toEqual([2, 2]);
    const at = mask?.offset ?? 0;
    expect([...bytes.subarray(at, at + 4)]).toEqual([1, 1, 2, 0]);
    expect(at % 8).toBe(0);
    expect(file.tensors.get('x')?.byteLength).toBe(8);
  });

  test.each<[string, Uint8Array, string]>([
    ['an empty file', new Uint8Array(0), 'Expected at least 8 bytes for the header'],
    ['a file of seven bytes', new Uint8Array(7), 'Expected at least 8 bytes for the header'],
    ['a header longer than the file', withHeader('{}').subarray(0, 9), 'for the header length'],
    ['a header length past 2^63', new Uint8Array(16).fill(255), 'got "18446744073709551615"'],
    ['a header that is no JSON', withHeader('{"a":'), 'Expected JSON for the header'],
    [
      'a header that is no UTF-8',
      withHeader('{"\uD800":1}').map((b, i) => (i === 10 ? 0xff : b)),
      'Expected JSON',
    ],
    ['a list as header', withHeader('[1]'), 'Expected a JSON object for the header'],
    ['a tensor that is no object', withHeader('{"a":1}'), 'for tensor "a"'],
    ['an unknown dtype', withHeader(tensor([0, 4], [2, 2], 'U9'), four), 'dtype of tensor "a"'],
    ['an inherited dtype', withHeader(tensor([0, 4], [2, 2], 'toString'), four), 'dtype of tensor "a"'],
    ['a negative length', withHeader(tensor([0, 4], [-2, -2]), four), 'shape of tensor "a"'],
    ['a fractional length', withHeader(tensor([0, 4], [0.5, 8]), four), 'shape of tensor "a"'],
    ['a huge length', withHeader(tensor([0, 4], [2 ** 52, 2 ** 52]), four), 'for tensor "a"'],
    ['a length past 2^53', withHeader(tensor([0, 4], [1e300, 1]), four), 'shape of tensor "a"'],
    ['negative offsets', withHeader(tensor([-4, 0]), four), 'data_offsets of tensor "a"'],
    ['descending offsets', withHeader(tensor([4, 0]), four), 'data_offsets of tensor "a"'],
    ['offsets past the file', withHeader(tensor([0, 5], [5]), four), 'ascending offsets up to 4'],
    ['an offset too few', withHeader(tensor([0]), four), 'data_offsets of tensor "a"'],
    [
      'a shape that does not fit the bytes',
      withHeader(tensor([0, 4], [3]), four),
      'Expected 3 bytes (shape and dtype)',
    ],
    ['bytes that no tensor owns', withHeader(tensor([0, 2], [2]), four), 'the data after the header'],
    ['a gap', withHeader(tensor([2, 4], [2]), four), 'got "a gap"'],
    [
      'overlapping tensors',
      withHeader(
        '{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
        four,
      ),
      'got "an overlap"',
    ],
    ['metadata that is no text', withHeader('{"__metadata__":{"a":1}}'), '__metadata__ "a"'],
    ['metadata that is no object', withHeader('{"__metadata__":7}'), '__metadata__'],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => parse(bytes)).toThrow(TraceError);
    expect(() => parse(bytes)).toThrow(message);
  });

  test('names that clash with JavaScript objects are only names', () => {
    const file = parse(withHeader('{"__proto__":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', four));
    expect([...file.tensors.keys()]).toEqual(['__proto__']);
  });
});

/** One edit of a valid file. */
const mutation = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: fc.nat(4000), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(4000) }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(400), text: fc.string({ maxLength: 12 }) }),
  fc.record({
    kind: fc.constant('digits' as const),
    nth: fc.nat(40),
    value: fc.oneof(fc.integer(), fc.double()),
  }),
);
type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutate(bytes: Uint8Array, edit: Mutation): Uint8Array {
  switch (edit.kind) {
    case 'set': {
      const copy = bytes.slice();
      copy[edit.at % copy.length] = edit.value;
      return copy;
    }
    case 'cut':
      return bytes.slice(0, edit.at % (bytes.length + 1));
    case 'insert': {
      const at = edit.at % bytes.length;
      return Uint8Array.from([
        ...bytes.subarray(0, at),
        ...new TextEncoder().encode(edit.text),
        ...bytes.subarray(at),
      ]);
    }
    case 'digits': {
      // Replaces the n-th number of the header and repairs the header length: reaches the checks behind the JSON.
      if (bytes.length < 8) return bytes;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const length = Math.min(Number(view.getBigUint64(0, true)), bytes.length - 8);
      let seen = 0;
      const json = new TextDecoder().decode(bytes.subarray(8, 8 + length));
      const changed = json.replace(/-?\d+(?=[,\]])/g, (n) =>
        seen++ === edit.nth ? JSON.stringify(edit.value) : n,
      );
      return withHeader(changed, bytes.subarray(8 + length));
    }
  }
}

describe('fuzz', () => {
  const valid = safetensorsBytes(
    [
      masks(0, 12, [[0, 11], [5], []]),
      floats('layers.1.mlp.activations', [Array(12).fill(1), Array(12).fill(-1), Array(12).fill(NaN)]),
      floats('layers.1.mlp.router_logits', [Array(12).fill(1), Array(12).fill(-1), Array(12).fill(0)]),
      floats('layers.0.attention.head_norms', [
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
    ],
    { model: 'm', intermediate_size: '12' },
  );

  test('a damaged file is a TraceError or tensors that lie inside the file', () => {
    const path = join(folder, 'fuzz.safetensors');
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (edits) => {
        const bytes = edits.reduce((b, edit) => (b.length === 0 ? b : mutate(b, edit)), valid);
        writeFileSync(path, bytes);
        try {
          for (const t of openSafetensors(path).tensors.values()) {
            expect(t.offset).toBeGreaterThanOrEqual(8);
            expect(t.byteLength).toBeGreaterThanOrEqual(0);
            expect(t.offset + t.byteLength).toBeLessThanOrEqual(bytes.byteLength);
          }
          const trace = openTrace([path]);
          for (const layer of trace.layers) {
            for (const t of [layer.activity, layer.headNorms, layer.routerLogits]) {
              if (t === null) continue;
              const total = t.segments.reduce((n, s) => n + s.tensor.byteLength, 0);
              expect(total).toBeLessThanOrEqual(bytes.byteLength);
              expect(t.tokens).toBeGreaterThan(0);
            }
          }
          accepted++;
        } catch (error) {
          if (!(error instanceof TraceError)) throw error;
        }
      }),
      { numRuns: 800 },
    );
    // Damage to data bytes stays valid: the test must see both sides.
    expect(accepted).toBeGreaterThan(20);
  });
});

describe('openTrace', () => {
  const write = (name: string, ...args: Parameters<typeof safetensorsBytes>): string =>
    writeSafetensors(join(folder, name), ...args);

  test('joins layers and tokens of several files', () => {
    const a = write('a.safetensors', [masks(0, 16, [[1], [2]]), masks(5, 16, [[3]])], { model: 'tiny' });
    const b = write('b.safetensors', [masks(0, 16, [[4]])]);
    const trace = openTrace([a, b]);
    expect(trace.model).toBe('tiny');
    expect(trace.intermediateSize).toBe(16);
    expect(trace.layers.map((l) => [l.layer, l.activity?.tokens])).toEqual([
      [0, 3],
      [5, 1],
    ]);
  });

  test('takes D from what carries it exactly', () => {
    const noted = write('noted.safetensors', [masks(0, 13, [[1]])], { intermediate_size: '13' });
    expect(openTrace([noted]).intermediateSize).toBe(13);
    const wide = write('wide.safetensors', [
      masks(0, 13, [[1]]),
      floats('layers.0.mlp.router_logits', [Array(13).fill(0)]),
    ]);
    expect(openTrace([wide]).intermediateSize).toBe(13);
  });

  test.each<[string, Parameters<typeof safetensorsBytes>, string]>([
    [
      'zero tokens',
      [[{ ...masks(0, 8, []), shape: [0, 1] }]],
      'Expected 1 to 33554432 tokens for tensor "layers.0.mlp.active"',
    ],
    ['no width', [[{ ...masks(0, 8, []), shape: [4, 0] }]], 'Expected a row of 1 to 32768 elements'],
    ['one dimension', [[{ ...masks(0, 8, [[1]]), shape: [1] }]], 'Expected shape [tokens, width]'],
    ['masks of floats', [[floats('layers.0.mlp.active', [[1]])]], 'Expected dtype U8 for tensor'],
    [
      'byte activations',
      [[{ ...masks(0, 8, [[1]]), name: 'layers.0.mlp.activations' }]],
      'Expected dtype F16, BF16, F32',
    ],
    [
      'other names only',
      [[floats('model.weight', [[1]])]],
      'Expected layers.<i>.mlp.active or its relatives',
    ],
    [
      'a layer number with a leading zero',
      [[{ ...masks(0, 8, [[1]]), name: 'layers.00.mlp.active' }]],
      'got none',
    ],
    [
      'masks and activations of one layer',
      [[masks(0, 8, [[1]]), floats('layers.0.mlp.activations', [Array(8).fill(1)])]],
      'Expected masks or activations for layer 0, got both',
    ],
    [
      'different numbers of tokens',
      [[masks(0, 8, [[1], [2]]), floats('layers.0.attention.head_norms', [[1, 2]])]],
      'Expected 2 tokens (as layers.0.mlp.active) for layers.0.attention.head_norms, got 1',
    ],
    [
      'different numbers of neurons',
      [[floats('layers.0.mlp.activations', [[1, 2]]), floats('layers.1.mlp.activations', [[1, 2, 3]])]],
      'Expected 2 neurons for layers.1.mlp.activations, got 3',
    ],
    [
      'a mask too short for D',
      [[masks(0, 8, [[1]])], { intermediate_size: '9' }],
      'Expected 2 bytes a token (9 neurons)',
    ],
    [
      'a D that is no count',
      [[masks(0, 8, [[1]])], { intermediate_size: '-9' }],
      'Expected a count for __metadata__',
    ],
  ])('refuses %s', (_, args, message) => {
    const path = write('bad.safetensors', ...args);
    expect(() => openTrace([path])).toThrow(TraceError);
    expect(() => openTrace([path])).toThrow(message);
  });

  test('refuses files of one trace that disagree, missing files and folders', () => {
    const a = write('p.safetensors', [masks(0, 8, [[1]])]);
    const b = write('q.safetensors', [masks(0, 16, [[1]])]);
    expect(() => openTrace([a, b])).toThrow('Expected U8 rows of 1 for tensor "layers.0.mlp.active" of');
    expect(() => openTrace([join(folder, 'absent')])).toThrow('Expected a readable file for --trace');
    expect(() => openTrace([folder])).toThrow('Expected a plain file for --trace');
  });
});

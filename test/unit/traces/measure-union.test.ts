import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadAddon } from '../../../src/backends/native/addon.js';
import { TraceError, UsageError } from '../../../src/core/errors.js';
import type { TraceNative } from '../../../src/core/trace-native.js';
import type { MeasuredUnion, UnionLaw } from '../../../src/core/union.js';
import { fitUnionLaw } from '../../../src/theory/union-fit.js';
import { unionDensity, unionSamplingError } from '../../../src/theory/union.js';
import { drawProbabilities, layerGenerator } from '../../../src/traces/beta-draw.js';
import { measuredCurves, measureUnion } from '../../../src/traces/measure-union.js';
import { writeSyntheticTrace, type SyntheticTrace } from '../../../src/traces/synthetic.js';
import { openTrace } from '../../../src/traces/trace.js';
import { floats, masks, temporaryFolder, writeSafetensors } from './support/files.js';

const folder = temporaryFolder();
const native: TraceNative = loadAddon();
const options = { batchSizes: [1, 2], layers: null, trials: 100, seed: 1, threads: 2 };
const measure = (path: string, change: object = {}): Promise<MeasuredUnion> =>
  measureUnion(openTrace([path]), { ...options, ...change }, native);

describe('measureUnion', () => {
  test('hand-computed: four tokens of eight neurons', async () => {
    // Two tokens {0,1}, two tokens {0,1,2}: B = 1: mean 2.5 of 8, std sqrt(1/3); B = 4: 3 of 8 whatever the order.
    const path = writeSafetensors(join(folder, 'four.safetensors'), [
      masks(2, 8, [
        [0, 1],
        [0, 1, 2],
        [0, 1],
        [0, 1, 2],
      ]),
    ]);
    const got = await measure(path, { batchSizes: [1, 4] });
    expect(got.layers).toEqual([
      {
        layer: 2,
        tokens: 4,
        warnings: [],
        points: [
          { batchSize: 1, density: 2.5 / 8, std: expect.closeTo(Math.sqrt(1 / 3) / 8, 12), trials: 4 },
          { batchSize: 4, density: 3 / 8, std: null, trials: 1 },
        ],
      },
    ]);
    expect(got.source).toBe('trace:four.safetensors');
    expect(measuredCurves(got).layers[0]?.points[0]?.density).toBe(2.5 / 8);
  });

  test('activations are active when > 0; NaN is counted and named', async () => {
    const path = writeSafetensors(join(folder, 'nan.safetensors'), [
      floats('layers.0.mlp.activations', [
        [1, -1, 0, NaN],
        [-0, 2, 1e-40, Infinity],
      ]),
    ]);
    const got = await measure(path);
    expect(got.layers[0]?.points[0]?.density).toBe(0.5);
    expect(got.layers[0]?.points[1]?.density).toBe(1);
    expect(got.layers[0]?.warnings).toEqual(['1 activations are NaN and count as inactive']);
  });

  test('refuses a batch larger than the trace, a layer that is not there, bits past D', async () => {
    const path = writeSafetensors(join(folder, 'small.safetensors'), [masks(0, 8, [[0], [1]])], {
      intermediate_size: '8',
    });
    await expect(measure(path, { batchSizes: [1, 4] })).rejects.toThrow(
      /Expected at most 2 \(tokens of layers\.0\.mlp\.active of ".*small\.safetensors"\) for --batch, got 4/,
    );
    await expect(measure(path, { layers: [3] })).rejects.toThrow('Expected layers.3.mlp.active');
    const padded = masks(0, 9, [[0], [1, 8]]);
    padded.data[3] = 0x03;
    const bad = writeSafetensors(join(folder, 'padded.safetensors'), [padded], { intermediate_size: '9' });
    await expect(measure(bad)).rejects.toThrow(
      /Expected no bit set past neuron 8 for mask of token, got 1 \(layers\.0\.mlp\.active of .*padded/,
    );
  });

  test('a file that was shortened after its header was read is an error', async () => {
    const path = writeSafetensors(join(folder, 'cut.safetensors'), [
      masks(
        0,
        8,
        Array.from({ length: 100 }, () => [1]),
      ),
    ]);
    const trace = openTrace([path]);
    truncateSync(path, statSync(path).size - 1);
    await expect(measureUnion(trace, options, native)).rejects.toThrow(TraceError);
  });

  test('a seed gives the same numbers with any number of threads, another seed others', async () => {
    const rows = Array.from({ length: 300 }, (_, t) => [t % 64, (t * 7) % 64]);
    const path = writeSafetensors(join(folder, 'seed.safetensors'), [masks(0, 64, rows)]);
    const one = await measure(path, { batchSizes: [8], threads: 1 });
    expect(await measure(path, { batchSizes: [8], threads: 5 })).toEqual(one);
    expect(await measure(path, { batchSizes: [8], seed: 2 })).not.toEqual(one);
  });

  test('no request of any shape crashes the addon', async () => {
    const path = join(folder, 'data');
    writeFileSync(path, new Uint8Array(64));
    const number = fc.oneof(fc.nat(70), fc.constantFrom(-1, 0.5, NaN, 2 ** 53, 2 ** 40, Infinity));
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          element: number,
          neurons: number,
          segments: fc.array(fc.record({ path: fc.constant(path), offset: number, tokens: number }), {
            maxLength: 3,
          }),
          batchSizes: fc.array(number, { maxLength: 3 }),
          maxTrials: number,
          seed: number,
          threads: fc.nat(4),
        }),
        async (request) => {
          try {
            const result = await native.traceUnion(request);
            expect(result.bytesRead).toBeLessThanOrEqual(3 * 64);
          } catch (error) {
            // A refusal says what was expected; anything else is a bug.
            if (!(error instanceof Error && error.message.startsWith('Expected '))) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('drawProbabilities', () => {
  test.each([
    [2, 5],
    [0.05, 0.9],
    [40, 3],
  ])('Beta(%d, %d) has its mean and variance', (alpha, beta) => {
    const n = 200_000;
    const p = drawProbabilities({ kind: 'beta-binomial', alpha, beta }, n, layerGenerator(1, 0));
    const mean = p.reduce((a, b) => a + b, 0) / n;
    const variance = p.reduce((a, b) => a + (b - mean) ** 2, 0) / n;
    const m = alpha / (alpha + beta);
    const v = (m * (1 - m)) / (alpha + beta + 1);
    expect(Math.abs(mean - m)).toBeLessThan(4 * Math.sqrt(v / n));
    // A variable in [0, 1] has a fourth central moment of at most its variance.
    expect(Math.abs(variance - v)).toBeLessThan(4 * Math.sqrt(v / n));
  });

  test('layers draw different probabilities, a seed draws the same', () => {
    const law: UnionLaw = { kind: 'beta-binomial', alpha: 1, beta: 1 };
    const draw = (seed: number, layer: number): number[] => [
      ...drawProbabilities(law, 5, layerGenerator(seed, layer)),
    ];
    expect(draw(1, 0)).toEqual(draw(1, 0));
    expect(draw(1, 0)).not.toEqual(draw(1, 1));
    expect(draw(1, 0)).not.toEqual(draw(2, 0));
  });
});

describe('writeSyntheticTrace', () => {
  const law: UnionLaw = { kind: 'beta-binomial', alpha: 0.32, beta: 7.1 };
  const synthetic = (change: Partial<SyntheticTrace> = {}): SyntheticTrace => ({
    model: 'drawn',
    intermediateSize: 4096,
    layers: [{ layer: 0, law }],
    tokens: 200_000,
    correlation: 0,
    tokensPerSequence: 256,
    seed: 11,
    threads: 2,
    ...change,
  });

  test('200,000 tokens of 4,096 neurons: the union is the law’s within three standard errors', async () => {
    const path = join(folder, 'drawn.safetensors');
    await writeSyntheticTrace(synthetic(), path, native);
    const batchSizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    const got = await measure(path, { batchSizes, trials: 512 });
    expect(got.model).toBe('drawn');
    for (const point of got.layers[0]?.points ?? []) {
      const error = unionSamplingError(law, point.batchSize, 4096);
      expect(Math.abs(point.density - unionDensity(law, point.batchSize))).toBeLessThan(3 * error);
    }
    const fit = fitUnionLaw(measuredCurves(got).layers[0]?.points ?? [], 'beta-binomial', [1, 8, 64]);
    expect(Math.abs(unionDensity(fit?.law ?? law, 512) - unionDensity(law, 512))).toBeLessThan(0.02);
  });

  test('a batch of correlated tokens activates fewer neurons', async () => {
    const densityAt = async (correlation: number): Promise<number> => {
      const path = join(folder, `correlated-${correlation}.safetensors`);
      await writeSyntheticTrace(
        synthetic({ tokens: 4096, intermediateSize: 512, correlation, tokensPerSequence: 1024 }),
        path,
        native,
      );
      return (await measure(path, { batchSizes: [16] })).layers[0]?.points[0]?.density ?? NaN;
    };
    const free = await densityAt(0);
    // Four sequences that are all but constant: a batch of 16 sees about four different tokens.
    expect(free).toBeGreaterThan(1.5 * (await densityAt(1)));
  });

  test('never overwrites, and leaves nothing behind when it fails', async () => {
    const path = join(folder, 'there.safetensors');
    writeFileSync(path, 'mine');
    await expect(writeSyntheticTrace(synthetic(), path, native)).rejects.toThrow(UsageError);
    expect(readFileSync(path, 'utf8')).toBe('mine');
    const absent = join(folder, 'no-folder', 'x.safetensors');
    await expect(writeSyntheticTrace(synthetic(), absent, native)).rejects.toThrow(
      'Expected a writable file',
    );
    const huge = join(folder, 'huge.safetensors');
    await expect(writeSyntheticTrace(synthetic({ tokensPerSequence: 0 }), huge, native)).rejects.toThrow(
      TraceError,
    );
    expect(existsSync(huge) || existsSync(`${huge}.partial`)).toBe(false);
  });
});

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CATALOG } from '../../../src/core/catalog.js';
import { activeGroups, BACKENDS, SCOPES, type Cell } from '../../../src/core/cell.js';
import { PlanError, UsageError } from '../../../src/core/errors.js';
import type { ModelShape } from '../../../src/core/model-shape.js';
import { listModels, loadModel } from '../../../src/models/load.js';
import { BACKEND_DEFAULTS } from '../../../src/plan/defaults.js';
import { expandSweep, type SweepRequest } from '../../../src/plan/expand.js';

const llama3 = loadModel('llama-3-8b');
const opt66 = loadModel('opt-66b');
const tinyOpt = loadModel('tiny-opt');
const tinyLlama = loadModel('tiny-llama');
/** One KV head for eight query heads, as the smallest Gemma. */
const singleGroup: ModelShape = { ...tinyLlama, name: 'single-group', numQoHeads: 8, numKvHeads: 1 };

const request = (change: Partial<SweepRequest> = {}): SweepRequest => ({
  models: [llama3],
  backend: 'cpu',
  ...change,
});
const where = (cell: Cell) => [cell.model.name, cell.scope, cell.batchSize, cell.kvLen];
const kernels = (cell: Cell | undefined) => cell?.candidates.map((c) => c.kernel);

const heads = (model: ModelShape, headDensities?: number[]) =>
  expandSweep(request({ models: [model], scopes: ['attention'], headDensities }))
    .cells[0]!.candidates.filter((c) => c.kernel === 'attention/selective-head')
    .map((c) => [c.activeHeads, c.densitySource]);

const neurons = (plan: ReturnType<typeof expandSweep>) =>
  plan.cells.map((cell) =>
    cell.candidates
      .filter((c) => c.kernel === 'mlp/selective')
      .map((c) => [c.activeNeurons, c.densitySource]),
  );

const mlp = (change: Partial<SweepRequest>) => request({ scopes: ['mlp'], batchSizes: [1, 64], ...change });

const growingCurve = (_: ModelShape, b: number) => ({
  density: b === 1 ? 0.1 : 0.5,
  source: 'published:curve',
});

const fullCurve = () => ({ density: 1, source: 'published:curve' });

const tableOfBatchOne = (_: ModelShape, b: number) =>
  b === 1 ? { activeNeurons: 77, layerActiveNeurons: [70, 84], source: 'topk:t.csv' } : null;

const onlyPolar = () => expandSweep(request({ variants: ['polar'] }));

const some = <T>(values: readonly T[]) => fc.subarray([...values], { minLength: 1 });

describe('a bare sweep', () => {
  it('of llama-3-8b on a CPU is six cells of at most four seconds', () => {
    const plan = expandSweep(request());
    expect(plan.cells.map(where)).toEqual([
      ['llama-3-8b', 'attention', 1, 2048],
      ['llama-3-8b', 'attention', 4, 2048],
      ['llama-3-8b', 'attention', 16, 2048],
      ['llama-3-8b', 'mlp', 1, null],
      ['llama-3-8b', 'mlp', 4, null],
      ['llama-3-8b', 'mlp', 16, null],
    ]);
    expect(plan.exclusions).toEqual([]);
    expect(plan.cells.length * plan.sampling.maxTimeS).toBeLessThanOrEqual(30);
    expect(plan.sampling).toMatchObject({ minSamples: 10, maxNoise: 0.02 });
    expect(plan.threads).toBe(0);
  });

  it('has the dense, head-sparse and mlp-sparse candidates with where their densities come from', () => {
    const plan = expandSweep(request());
    expect(plan.cells[0]!.candidates).toEqual([
      {
        kernel: 'attention/dense',
        variant: 'dense',
        activeHeads: 32,
        activeNeurons: null,
        layerActiveNeurons: null,
        densitySource: 'dense',
      },
      {
        kernel: 'attention/dense-per-query-head',
        variant: 'dense',
        activeHeads: 32,
        activeNeurons: null,
        layerActiveNeurons: null,
        densitySource: 'dense',
      },
      // 0.625 of 8 groups = 5 groups of 4 query heads
      {
        kernel: 'attention/selective-head',
        variant: 'head-sparse',
        activeHeads: 20,
        activeNeurons: null,
        layerActiveNeurons: null,
        densitySource: `critical:${llama3.criticalHeadDensity!.source}`,
      },
      {
        kernel: 'attention/gather-dense',
        variant: 'head-sparse',
        activeHeads: 20,
        activeNeurons: null,
        layerActiveNeurons: null,
        densitySource: `critical:${llama3.criticalHeadDensity!.source}`,
      },
    ]);
    expect(plan.cells[3]!.candidates).toEqual([
      {
        kernel: 'mlp/dense',
        variant: 'dense',
        activeHeads: null,
        activeNeurons: 14336,
        layerActiveNeurons: null,
        densitySource: 'dense',
      },
      {
        kernel: 'mlp/selective',
        variant: 'mlp-sparse',
        activeHeads: null,
        activeNeurons: 7168,
        layerActiveNeurons: null,
        densitySource: 'default',
      },
      {
        kernel: 'mlp/gather-dense',
        variant: 'mlp-sparse',
        activeHeads: null,
        activeNeurons: 7168,
        layerActiveNeurons: null,
        densitySource: 'default',
      },
    ]);
  });

  it('on CUDA is twelve cells, with cuBLASLt among the dense candidates', () => {
    const plan = expandSweep(request({ backend: 'cuda' }));
    expect(plan.cells).toHaveLength(4 * 2 + 4);
    expect(plan.cells.length * plan.sampling.maxTimeS).toBeLessThanOrEqual(150);
    expect(plan.sampling.maxNoise).toBe(0.005);
    expect(kernels(plan.cells.at(-1))).toContain('mlp/cublaslt');
  });

  it('does not mention polar, which has no kernel of its own here', () => {
    const plan = expandSweep(request());
    expect(plan.cells.flatMap((cell) => cell.candidates.map((c) => c.variant))).not.toContain('polar');
    expect(plan.exclusions).toEqual([]);
  });
});

describe('settings', () => {
  it('carries what was asked for into every cell and the sampling', () => {
    const plan = expandSweep(
      request({
        device: 2,
        dtype: 'fp16',
        cacheMode: 'hot',
        seed: 9,
        threads: 3,
        minSamples: 5000,
        maxNoisePercent: 1,
        maxTimeS: 0.25,
        warmup: 4,
      }),
    );
    expect(plan.cells[0]).toMatchObject({
      backend: 'cpu',
      device: 2,
      dtype: 'fp16',
      cacheMode: 'hot',
      seed: 9,
    });
    expect(plan.threads).toBe(3);
    expect(plan.sampling).toEqual({
      minSamples: 5000,
      maxSamples: 5000,
      maxNoise: 0.01,
      maxTimeS: 0.25,
      warmup: 4,
      minSampleUs: BACKEND_DEFAULTS.cpu.sampling.minSampleUs,
    });
  });
});

describe('order', () => {
  it('is models, scopes, batch sizes, lengths', () => {
    const plan = expandSweep(
      request({
        models: [tinyOpt, tinyLlama],
        scopes: ['mlp-down', 'attention'],
        batchSizes: [8, 2],
        kvLens: [512, 64],
      }),
    );
    expect(plan.cells.map(where)).toEqual(
      ['tiny-opt', 'tiny-llama'].flatMap((name) => [
        [name, 'mlp-down', 2, null],
        [name, 'mlp-down', 8, null],
        [name, 'attention', 2, 64],
        [name, 'attention', 2, 512],
        [name, 'attention', 8, 64],
        [name, 'attention', 8, 512],
      ]),
    );
  });

  it('plans equal cells once', () => {
    const once = expandSweep(request());
    const twice = expandSweep(
      request({ models: [llama3, llama3], scopes: ['attention', 'mlp', 'attention'] }),
    );
    expect(twice).toEqual(once);
  });

  it('is the same for the same request', () => {
    const r = request({ backend: 'cuda', models: listModels(), scopes: SCOPES });
    expect(JSON.stringify(expandSweep(r))).toBe(JSON.stringify(expandSweep(r)));
  });
});

describe('head densities', () => {
  it('defaults to the critical density, cut down as in the paper', () => {
    expect(heads(opt66)).toEqual([[21, `critical:${opt66.criticalHeadDensity!.source}`]]);
  });

  it('else to 0.5 of the heads or 0.625 of the groups', () => {
    expect(heads(tinyOpt)).toEqual([[2, 'default']]);
    expect(heads({ ...llama3, criticalHeadDensity: null })).toEqual([[20, 'default']]);
  });

  it('are candidates of one cell each', () => {
    expect(heads(opt66, [0.1, 22 / 72, 1])).toEqual([
      [7, 'flag'],
      [22, 'flag'],
      [72, 'flag'],
    ]);
    expect(heads(llama3, [0.5])).toEqual([[16, 'flag']]);
  });

  it('that select the same groups are one candidate', () => {
    expect(heads(llama3, [0.5, 0.55, 0.6, 0.625])).toEqual([
      [16, 'flag'],
      [20, 'flag'],
    ]);
  });

  it('below one group select one', () => {
    expect(heads(llama3, [0.01])).toEqual([[4, 'flag']]);
  });

  it('exclude the variant with a reason where a default would select the only group', () => {
    const plan = expandSweep(request({ models: [singleGroup], batchSizes: [1, 2], kvLens: [64, 128] }));
    expect(plan.exclusions).toEqual([
      {
        model: 'single-group',
        scope: 'attention',
        variant: 'head-sparse',
        reason: expect.stringContaining('selects the only KV group'),
      },
    ]);
    const attention = plan.cells.filter((cell) => cell.scope === 'attention');
    expect(attention).toHaveLength(4);
    expect(attention.flatMap((cell) => cell.candidates.map((c) => c.variant))).not.toContain('head-sparse');
  });

  it('leave an empty plan and the reason where nothing else was asked for', () => {
    const plan = expandSweep(
      request({ models: [singleGroup], scopes: ['attention'], variants: ['head-sparse'] }),
    );
    expect(plan.cells).toEqual([]);
    expect(plan.exclusions).toHaveLength(1);
  });

  it('are an error where they were asked for and cannot be met', () => {
    const impossible = request({ models: [llama3, singleGroup], headDensities: [0.5] });
    expect(() => expandSweep(impossible)).toThrow(PlanError);
    expect(() => expandSweep(impossible)).toThrow(
      'Expected a density that 1 KV group can meet for --head-density, got 0.5',
    );
    const plan = expandSweep(request({ models: [singleGroup], scopes: ['attention'], headDensities: [1] }));
    expect(kernels(plan.cells[0])).toContain('attention/selective-head');
  });
});

describe('MLP densities', () => {
  it("default to the model's own", () => {
    // 0.4 of 1408 = 563.2
    const own = [[563, `model:${tinyLlama.defaultMlpDensity!.source}`]];
    expect(neurons(expandSweep(mlp({ models: [tinyLlama] })))).toEqual([own, own]);
  });

  it('default to a function of the batch size where one is given', () => {
    expect(neurons(expandSweep(mlp({ models: [opt66] }), { mlpDensityFor: growingCurve }))).toEqual([
      [[3686, 'published:curve']],
      [[18432, 'published:curve']],
    ]);
    expect(
      neurons(expandSweep(mlp({ models: [opt66], mlpDensities: 'union' }), { mlpDensityFor: growingCurve })),
    ).toEqual([[[3686, 'published:curve']], [[18432, 'published:curve']]]);
  });

  it('exclude the variant where a default selects every neuron', () => {
    const plan = expandSweep(mlp({}), { mlpDensityFor: fullCurve });
    expect(neurons(plan)).toEqual([[], []]);
    expect(plan.exclusions).toEqual([
      expect.objectContaining({
        variant: 'mlp-sparse',
        reason: expect.stringContaining('all 14336 neurons'),
      }),
    ]);
  });

  it('come from a top-k table', () => {
    expect(neurons(expandSweep(mlp({ batchSizes: [1] }), { mlpNeuronsFor: tableOfBatchOne }))).toEqual([
      [[77, 'topk:t.csv']],
    ]);
    expect(() => expandSweep(mlp({}), { mlpNeuronsFor: tableOfBatchOne })).toThrow(
      /batch size 64 for --mlp-topk, got none/,
    );
    expect(() => expandSweep(mlp({ mlpDensities: [0.5] }), { mlpNeuronsFor: tableOfBatchOne })).toThrow(
      PlanError,
    );
  });

  it.each([0, 14337, 1.5])('refuse a table entry of %d neurons', (activeNeurons) => {
    const mlpNeuronsFor = () => ({ activeNeurons, layerActiveNeurons: [1], source: 'topk:t.csv' });
    expect(() => expandSweep(mlp({}), { mlpNeuronsFor })).toThrow(
      /^Expected 1 to 14336 neurons for --mlp-topk/,
    );
  });

  it('refuse union where no curve is published', () => {
    expect(() => expandSweep(mlp({ mlpDensities: 'union' }))).toThrow(
      /^Expected a published union curve for model/,
    );
  });
});

describe('variants', () => {
  it('limit the candidates', () => {
    const plan = expandSweep(request({ variants: ['head-sparse'] }));
    expect(new Set(plan.cells.map((cell) => cell.scope))).toEqual(new Set(['attention']));
    expect(kernels(plan.cells[0])).toEqual(['attention/selective-head', 'attention/gather-dense']);
  });

  it('without any kernel in the scopes are an error with a hint', () => {
    expect(onlyPolar).toThrow(PlanError);
    expect(onlyPolar).toThrow(
      /^Expected a variant with kernels in scope attention, mlp for --variant, got polar$/,
    );
    expect(onlyPolar).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('mlp-sparse, head-sparse') }),
    );
    expect(() => expandSweep(request({ scopes: ['attention'], variants: ['mlp-sparse'] }))).toThrow(
      PlanError,
    );
    expect(() => expandSweep(request({ variants: [] }))).toThrow(PlanError);
  });

  it('beside one that has kernels are excluded with a reason', () => {
    const plan = expandSweep(request({ scopes: ['attention'], variants: ['dense', 'polar'] }));
    expect(plan.cells).toHaveLength(3);
    expect(plan.exclusions).toEqual([
      {
        model: 'llama-3-8b',
        scope: 'attention',
        variant: 'polar',
        reason: 'no kernel of this variant in scope attention',
      },
    ]);
  });
});

describe('refusals', () => {
  it.each([
    [{ batchSizes: [0] }],
    [{ batchSizes: [] }],
    [{ batchSizes: [4097] }],
    [{ kvLens: [1_048_577] }],
    [{ headDensities: [0] }],
    [{ mlpDensities: [1.5] }],
  ])('%j is out of range', (change) => {
    expect(() => expandSweep(request(change))).toThrow(UsageError);
  });

  it('needs a model and a scope, and stays below the limit of cells', () => {
    expect(() => expandSweep(request({ models: [] }))).toThrow(PlanError);
    expect(() => expandSweep(request({ scopes: [] }))).toThrow(PlanError);
    const limits = { maxBatchSize: 4096, maxKvLen: 4096, maxCells: 5 };
    expect(() => expandSweep(request(), { limits })).toThrow(/^Expected at most 5 cells/);
  });
});

describe('any plan', () => {
  it('has distinct cells whose candidates are known, distinct and within the model', () => {
    const density = fc.integer({ min: 1, max: 100 }).map((n) => n / 100);
    const arbitrary = fc.record({
      models: some([llama3, opt66, tinyOpt, tinyLlama]),
      backend: fc.constantFrom(...BACKENDS),
      scopes: some(SCOPES),
      batchSizes: fc.array(fc.integer({ min: 1, max: 4096 }), { minLength: 1, maxLength: 3 }),
      kvLens: fc.array(fc.integer({ min: 1, max: 65536 }), { minLength: 1, maxLength: 3 }),
      headDensities: fc.option(fc.array(density, { minLength: 1, maxLength: 4 }), { nil: undefined }),
      mlpDensities: fc.option(fc.array(density, { minLength: 1, maxLength: 4 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(arbitrary, (r) => {
        const { cells } = expandSweep(r);
        expect(new Set(cells.map((cell) => cell.key)).size).toBe(cells.length);
        for (const cell of cells) {
          const names = cell.candidates.map((c) => `${c.kernel} ${c.activeHeads} ${c.activeNeurons}`);
          expect(new Set(names).size).toBe(names.length);
          expect(cell.kvLen === null).toBe(/^(mlp|router)/.test(cell.scope));
          for (const c of cell.candidates) {
            const kernel = CATALOG.find((k) => k.id === c.kernel)!;
            expect(kernel.scope).toBe(cell.scope);
            expect(kernel.backends).toContain(cell.backend);
            expect(Number.isInteger(activeGroups(cell.model, c) ?? 0)).toBe(true);
            expect(c.activeHeads ?? 1).toBeLessThanOrEqual(cell.model.numQoHeads);
            expect(c.activeNeurons ?? 1).toBeLessThanOrEqual(cell.model.intermediateSize);
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

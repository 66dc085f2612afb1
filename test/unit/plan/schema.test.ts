import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PRESETS } from '../../../src/cli/presets.js';
import { VARIANTS } from '../../../src/core/cell.js';
import { ConfigError } from '../../../src/core/errors.js';
import { loadModel } from '../../../src/models/load.js';
import { expandSweep } from '../../../src/plan/expand.js';
import { parseSweepConfig, sweepConfigJsonSchema } from '../../../src/plan/schema.js';

const parse = (json: unknown) => parseSweepConfig(JSON.stringify(json), 's.json');
const misspelt = () => parse({ batch: 1, bacth: 2 });
const configs = new URL('../../../configs/', import.meta.url);
const preset = (name: string) =>
  parseSweepConfig(readFileSync(new URL(`sweeps/${name}.json`, configs), 'utf8'), `${name}.json`);

describe('parseSweepConfig', () => {
  it('reads every key', () => {
    const config = {
      $schema: '../schema.json',
      description: 'all keys',
      models: ['opt-66b', './my-model'],
      batch: '1-4*2',
      seq: [8192, 1024],
      variants: ['dense', 'head-sparse'],
      scopes: ['attention'],
      head_density: [0.5, '22/72'],
      mlp_density: 'union',
      mlp_topk: 'topk.csv',
      backend: 'auto',
      device: 1,
      dtype: 'fp16',
      seed: 7,
      threads: 2,
      min_samples: 20,
      max_noise_percent: 0.5,
      max_time_s: 3,
      warmup: 2,
      cache: 'hot',
    };
    expect(parse(config)).toEqual({
      models: ['opt-66b', './my-model'],
      batchSizes: [1, 2, 4],
      kvLens: [1024, 8192],
      variants: ['dense', 'head-sparse'],
      scopes: ['attention'],
      headDensities: [22 / 72, 0.5],
      mlpDensities: 'union',
      mlpTopk: 'topk.csv',
      backend: 'auto',
      device: 1,
      dtype: 'fp16',
      seed: 7,
      threads: 2,
      minSamples: 20,
      maxNoisePercent: 0.5,
      maxTimeS: 3,
      warmup: 2,
      cacheMode: 'hot',
    });
  });

  it('leaves out what the file does not say', () => {
    expect(Object.keys(parse({}))).toEqual([]);
    expect(parse({ batch: 4, mlp_density: 0.25 })).toEqual({ batchSizes: [4], mlpDensities: [0.25] });
  });

  it.each([
    [{ batch: 0 }, '/batch in s.json, got 0'],
    [{ batch: '8-1' }, '/batch in s.json, got "8-1"'],
    [{ batch: [1, -4] }, '/batch in s.json, got -4'],
    [{ batch: 5000 }, '/batch in s.json, got 5000'],
    [{ batch: {} }, '/batch in s.json, got {}'],
    [{ batch: [] }, '/batch in s.json, got []'],
    [{ seq: 1.5 }, '/seq in s.json, got 1.5'],
    [{ seq: '2000k' }, '/seq in s.json, got "2000k"'],
    [{ head_density: 0 }, '/head_density in s.json, got 0'],
    [{ head_density: [0.5, '3/2'] }, '/head_density in s.json, got "3/2"'],
    [{ head_density: 'union' }, '/head_density in s.json, got "union"'],
    [{ mlp_density: 1.5 }, '/mlp_density in s.json, got 1.5'],
    [{ models: [] }, '/models in s.json, got []'],
    [{ models: 'opt-66b' }, '/models in s.json, got "opt-66b"'],
    [{ models: [''] }, '/models/0 in s.json, got ""'],
    [{ variants: ['dense', 'sparse'] }, '/variants/1 in s.json, got "sparse"'],
    [{ scopes: ['layers'] }, '/scopes/0 in s.json, got "layers"'],
    [{ dtype: 'fp32' }, '/dtype in s.json, got "fp32"'],
    [{ backend: 'rocm' }, '/backend in s.json, got "rocm"'],
    [{ cache: 'warm' }, '/cache in s.json, got "warm"'],
    [{ seed: -1 }, '/seed in s.json, got -1'],
    [{ seed: 2 ** 60 }, '/seed in s.json, got'],
    [{ threads: 0.5 }, '/threads in s.json, got 0.5'],
    [{ max_noise_percent: 0 }, '/max_noise_percent in s.json, got 0'],
    [{ max_time_s: null }, '/max_time_s in s.json, got null'],
    [{ warmup: '3' }, '/warmup in s.json, got "3"'],
  ])('refuses %j', (json, message) => {
    expect(() => parse(json)).toThrow(ConfigError);
    expect(() => parse(json)).toThrow(message);
    expect(() => parse(json)).toThrow(/^Expected (?!undefined)[a-z]/);
  });

  it('names the pointer and near matches of an unknown key', () => {
    expect(misspelt).toThrow('Expected a known key for /bacth in s.json, got "bacth"');
    expect(misspelt).toThrow(expect.objectContaining({ hint: 'Did you mean batch?' }));
    expect(() => parseSweepConfig('{"__proto__": {"batch": 1}}', 's.json')).toThrow('/__proto__ in s.json');
    expect(() => parse({ 'a/b': 1 })).toThrow('for /a~1b in s.json');
  });

  it.each(['', '{"batch": 1,}', '[1]', 'null'])('refuses %j', (text) => {
    expect(() => parseSweepConfig(text, 's.json')).toThrow(ConfigError);
  });
});

describe('configs/schema.json', () => {
  it('is what the zod schema says; else run node scripts/generate-schema.mjs', () => {
    const committed: unknown = JSON.parse(readFileSync(new URL('schema.json', configs), 'utf8'));
    expect(committed).toEqual(sweepConfigJsonSchema());
  });

  it('knows every key and forbids others', () => {
    const schema = sweepConfigJsonSchema();
    expect(schema['additionalProperties']).toBe(false);
    expect(Object.keys(schema['properties'] as object)).toEqual(
      expect.arrayContaining(['models', 'batch', 'seq', 'head_density', 'max_noise_percent', 'cache']),
    );
  });
});

describe('presets of decode steps', () => {
  const planOf = (name: string, backend: 'cpu' | 'cuda') => {
    const { models = [], ...config } = preset(name);
    const loaded = models.map((model) => loadModel(model));
    return expandSweep({
      ...config,
      backend: config.backend === 'auto' ? backend : (config.backend ?? backend),
      models: loaded,
    });
  };

  it('every preset can be named, and every name is one', () => {
    const files = readdirSync(new URL('sweeps/', configs)).map((file) => file.replace(/\.json$/, ''));
    expect([...PRESETS].toSorted()).toEqual(files.toSorted());
  });

  it('step-smoke has all four variants of both tiny shapes within a minute of sampling', () => {
    const plan = planOf('step-smoke', 'cpu');
    expect(new Set(plan.cells.map((cell) => cell.model.name))).toEqual(new Set(['tiny-opt', 'tiny-llama']));
    for (const cell of plan.cells) expect(cell.candidates.map((c) => c.variant)).toEqual([...VARIANTS]);
    expect(plan.cells.length * plan.sampling.maxTimeS).toBeLessThanOrEqual(30);
  });

  it.each([
    ['fig1a', 'opt-66b', 7, ['dense'], true],
    ['fig6a', 'opt-6.7b', 10, ['dense', 'mlp-sparse', 'polar'], false],
    ['fig6b', 'opt-66b', 8, ['dense', 'mlp-sparse', 'polar'], false],
    ['fig7a', 'llama-2-7b', 10, ['dense', 'head-sparse'], false],
    ['fig7b', 'llama-3.1-70b', 9, ['dense', 'head-sparse'], false],
  ])('%s is %s at the batch sizes and the length of the paper', (name, model, cells, variants, breakdown) => {
    const plan = planOf(name, 'cuda');
    expect(plan.cells).toHaveLength(cells);
    expect(plan.breakdown).toBe(breakdown);
    const reference = loadModel(model).referenceKvLen?.value;
    for (const cell of plan.cells) {
      expect([cell.model.name, cell.scope, cell.kvLen]).toEqual([model, 'step', reference]);
      expect(cell.candidates.map((c) => c.variant)).toEqual(variants);
    }
  });
});

describe('presets', () => {
  it('all parse', () => {
    const names = readdirSync(new URL('sweeps/', configs)).map((file) => file.replace(/\.json$/, ''));
    expect(names).toEqual(expect.arrayContaining(['paper', 'smoke']));
    expect(names.map((name) => preset(name).models?.length)).not.toContain(undefined);
  });

  it('smoke covers every scope within ten seconds of sampling', () => {
    const { models = [], ...config } = preset('smoke');
    const plan = expandSweep({ ...config, backend: 'cpu', models: models.map((name) => loadModel(name)) });
    expect(new Set(plan.cells.map((cell) => cell.scope))).toEqual(
      new Set(['attention', 'mlp', 'mlp-up', 'mlp-down']),
    );
    expect(plan.exclusions).toEqual([]);
    expect(plan.cells.length * plan.sampling.maxTimeS).toBeLessThanOrEqual(10);
  });

  it('paper is one cell for each of the three kernels, ten densities each', () => {
    const { models = [], ...config } = preset('paper');
    expect(models).toEqual(['opt-66b']);
    const plan = expandSweep({ ...config, backend: 'cpu', models: models.map((name) => loadModel(name)) });
    expect(plan.cells.map((c) => [c.scope, c.batchSize, c.kvLen])).toEqual([
      ['attention', 64, 1920],
      ['mlp-up', 64, null],
      ['mlp-down', 64, null],
    ]);
    const active = plan.cells.map((cell) =>
      cell.candidates.filter((c) => /select/.test(c.kernel)).map((c) => c.activeHeads ?? c.activeNeurons),
    );
    expect(active[0]).toEqual([7, 14, 21, 28, 36, 43, 50, 57, 64, 72]);
    expect(active[1]).toEqual([3686, 7372, 11059, 14745, 18432, 22118, 25804, 29491, 33177, 36864]);
    expect(active[2]).toEqual(active[1]);
  });
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, UsageError } from '../../../src/core/errors.js';
import { groupSize } from '../../../src/core/model-shape.js';
import { parseBuiltInModel } from '../../../src/models/built-in.js';
import { fileReaders, listModels, loadModel, MAX_MODEL_FILE_BYTES } from '../../../src/models/load.js';

const HF = {
  model_type: 'llama',
  hidden_size: 512,
  intermediate_size: 1024,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  vocab_size: 512,
  hidden_act: 'silu',
};

const unknown = () => loadModel('lama-3-8b');

describe('built-in models', () => {
  // layers, d, H, H_kv, d_h, D, vocab, critical density, reference length
  const TABLE = [
    ['opt-6.7b', 32, 4096, 32, 32, 128, 16384, 50272, 0.5, 1920],
    ['opt-13b', 40, 5120, 40, 40, 128, 20480, 50272, 0.5, 1920],
    ['opt-30b', 48, 7168, 56, 56, 128, 28672, 50272, 0.4, 1920],
    ['opt-66b', 64, 9216, 72, 72, 128, 36864, 50272, 0.3, 1920],
    ['llama-2-7b', 32, 4096, 32, 32, 128, 11008, 32000, 0.5, 3968],
    ['llama-2-13b', 40, 5120, 40, 40, 128, 13824, 32000, 0.5, 3968],
    ['llama-3-8b', 32, 4096, 32, 8, 128, 14336, 128256, 0.625, 8192],
    ['llama-3.1-8b', 32, 4096, 32, 8, 128, 14336, 128256, 0.625, 8192],
    ['llama-3.1-70b', 80, 8192, 64, 8, 128, 28672, 128256, 0.625, 8192],
    ['mistral-7b', 32, 4096, 32, 8, 128, 14336, 32000, 0.5, null],
    ['qwen-2.5-14b', 48, 5120, 40, 8, 128, 13824, 152064, 0.625, null],
  ] as const;

  it.each(TABLE)('%s has the dimensions of the paper', (name, ...expected) => {
    const m = loadModel(name);
    expect([
      m.numLayers,
      m.hiddenSize,
      m.numQoHeads,
      m.numKvHeads,
      m.headDim,
      m.intermediateSize,
      m.vocabSize,
      m.criticalHeadDensity?.value,
      m.referenceKvLen?.value ?? null,
    ]).toEqual(expected);
    const isOpt = name.startsWith('opt');
    expect([m.family, m.activation, m.gated, m.mlpBias]).toEqual(
      isOpt ? ['opt', 'relu', false, true] : ['llama', 'silu', true, false],
    );
  });

  it('says so where a density is not in the paper', () => {
    expect(loadModel('opt-13b').criticalHeadDensity?.source).toContain('not in the paper');
    expect(loadModel('llama-3-8b').criticalHeadDensity?.source).toContain('not in the paper');
    expect(loadModel('opt-66b').criticalHeadDensity?.source).not.toContain('not in the paper');
  });

  it('lists them all in natural order, the tiny shapes included', () => {
    const names = listModels().map((m) => m.name);
    expect(names).toHaveLength(TABLE.length + 2);
    expect(names.indexOf('opt-6.7b')).toBeLessThan(names.indexOf('opt-13b'));
    expect(names).toEqual(expect.arrayContaining([...TABLE.map((row) => row[0]), 'tiny-opt', 'tiny-llama']));
  });

  it('ships a tiny MHA shape and a tiny gated GQA shape with an MLP density', () => {
    const tinyOpt = loadModel('tiny-opt');
    const tinyLlama = loadModel('tiny-llama');
    expect([groupSize(tinyOpt), tinyOpt.headDim, tinyOpt.gated]).toEqual([1, 64, false]);
    expect([groupSize(tinyLlama), tinyLlama.headDim, tinyLlama.gated]).toEqual([2, 128, true]);
    expect(tinyOpt.defaultMlpDensity).toBeNull();
    expect(tinyLlama.defaultMlpDensity?.value).toBe(0.4);
  });
});

describe('paths', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'polar-bench-models-'));
    mkdirSync(join(folder, 'My-Model'));
    writeFileSync(join(folder, 'My-Model', 'config.json'), JSON.stringify(HF));
    writeFileSync(join(folder, 'other.json'), JSON.stringify({ ...HF, _name_or_path: 'org/other' }));
    writeFileSync(join(folder, 'broken.json'), '{"model_type": "llama",');
    writeFileSync(join(folder, 'large.json'), ' '.repeat(MAX_MODEL_FILE_BYTES + 1));
    mkdirSync(join(folder, 'empty'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('reads a folder, a config.json in it, and a file of any name', () => {
    expect(loadModel(join(folder, 'My-Model'))).toMatchObject({
      name: 'My-Model',
      hiddenSize: 512,
      headDim: 64,
    });
    expect(loadModel(join(folder, 'My-Model', 'config.json')).name).toBe('My-Model');
    expect(loadModel(join(folder, 'other.json')).name).toBe('org/other');
  });

  it.each([
    ['broken.json', /Expected JSON for .*broken\.json/],
    ['missing.json', /Expected a readable model file/],
    ['empty', /Expected a readable model file for --model, got ".*config\.json"/],
    ['large.json', /Expected a readable model file/],
  ])('refuses %s', (name, message) => {
    expect(() => loadModel(join(folder, name))).toThrow(ConfigError);
    expect(() => loadModel(join(folder, name))).toThrow(message);
  });

  it('refuses a device instead of reading it for ever', () => {
    expect(() => loadModel('/dev/zero')).toThrow(ConfigError);
  });

  it('turns what the file system throws into a ConfigError', () => {
    expect(() => loadModel('a\0b')).toThrow(ConfigError);
    const denied = {
      ...fileReaders,
      kind: () => 'file' as const,
      sizeBytes: () => 10,
      readText: (path: string) =>
        path.startsWith(fileReaders.builtInFolder)
          ? fileReaders.readText(path)
          : (() => {
              throw new Error('EACCES: permission denied');
            })(),
    };
    expect(() => loadModel('locked.json', denied)).toThrow(ConfigError);
  });

  it('names near matches of an unknown name', () => {
    expect(unknown).toThrow(UsageError);
    expect(unknown).toThrow(/^Expected a built-in model.* for --model, got "lama-3-8b"$/);
    expect(unknown).toThrow(expect.objectContaining({ hint: expect.stringContaining('llama-3-8b') }));
    expect(() => loadModel('')).toThrow(UsageError);
  });
});

describe('parseBuiltInModel', () => {
  const text = fileReaders.readText(join(fileReaders.builtInFolder, 'tiny-llama.json'));
  const changed = (change: object) => JSON.stringify({ ...JSON.parse(text), ...change });

  it.each([
    [{ num_qo_heads: 5 }, /for \/num_kv_heads in m\.json, got 2$/],
    [{ head_dim: 12 }, /for \/head_dim in m\.json, got 12$/],
    [{ hiden_size: 12 }, /Expected a known key for \/hiden_size in m\.json/],
    [
      { critical_head_density: { value: 0, source: 'x' } },
      /for \/critical_head_density\/value in m\.json, got 0$/,
    ],
    [{ source: undefined }, /for \/source in m\.json, got nothing$/],
    [{ activation: 'tanh' }, /for \/activation in m\.json, got "tanh"$/],
  ])('refuses %j', (change, message) => {
    expect(() => parseBuiltInModel(changed(change), 'm.json')).toThrow(message);
    expect(() => parseBuiltInModel(changed(change), 'm.json')).toThrow(ConfigError);
  });
});

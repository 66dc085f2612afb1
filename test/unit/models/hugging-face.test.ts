import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/core/errors.js';
import type { ModelShape } from '../../../src/core/model-shape.js';
import { parseHuggingFaceConfig } from '../../../src/models/hugging-face.js';

const LLAMA = {
  model_type: 'llama',
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  hidden_act: 'silu',
};
const OPT = {
  model_type: 'opt',
  hidden_size: 768,
  ffn_dim: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  vocab_size: 50272,
  word_embed_proj_dim: 768,
  do_layer_norm_before: true,
  activation_function: 'relu',
};
const GEMMA = {
  model_type: 'gemma2',
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  vocab_size: 256000,
  hidden_act: 'gelu_pytorch_tanh',
  hidden_activation: 'gelu_pytorch_tanh',
};

const parse = (json: object) => parseHuggingFaceConfig(JSON.stringify(json), 'config.json', 'fallback');

const isControl = (c: string) => c < ' ' || (c >= '\u007f' && c <= '\u009f');

/** What a file gives; any other error is a bug and goes up. */
function shapeOrConfigError(json: object): ModelShape | ConfigError {
  try {
    return parse(json);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

/** The error that a file gives; fails when it gives none. */
function refusal(json: object): ConfigError {
  const result = shapeOrConfigError(json);
  if (result instanceof ConfigError) return result;
  throw new Error('Expected a refusal, got a shape');
}

describe('families that are read', () => {
  it('reads LLaMA with KV groups', () => {
    expect(parse(LLAMA)).toEqual({
      name: 'fallback',
      family: 'llama',
      numLayers: 32,
      hiddenSize: 4096,
      intermediateSize: 14336,
      numQoHeads: 32,
      numKvHeads: 8,
      headDim: 128,
      vocabSize: 128256,
      activation: 'silu',
      gated: true,
      mlpBias: false,
      qkvBias: false,
      outBias: false,
      ropeTheta: 10_000,
      normEpsilon: 1e-6,
      unmodelledBlock: null,
      criticalHeadDensity: null,
      defaultMlpDensity: null,
      referenceKvLen: null,
      source: 'Hugging Face configuration, model_type llama',
    });
  });

  it.each([
    ['llama, all four projections or none', LLAMA, { qkvBias: false, outBias: false, ropeTheta: 10_000 }],
    ['llama with biases', { ...LLAMA, attention_bias: true }, { qkvBias: true, outBias: true }],
    ['qwen2: q, k and v', { ...LLAMA, model_type: 'qwen2' }, { qkvBias: true, outBias: false }],
    [
      'mistral has no such key',
      { ...LLAMA, model_type: 'mistral', attention_bias: true },
      { qkvBias: false },
    ],
    ['OPT', OPT, { qkvBias: true, outBias: true, ropeTheta: null, normEpsilon: 1e-5 }],
    ['OPT without', { ...OPT, enable_bias: false }, { qkvBias: false, outBias: false, mlpBias: false }],
    [
      'base and epsilon',
      { ...LLAMA, rope_theta: 500_000, rms_norm_eps: 1e-5 },
      { ropeTheta: 500_000, normEpsilon: 1e-5 },
    ],
    ['the base of newer files', { ...LLAMA, rope_parameters: { rope_theta: 5e6 } }, { ropeTheta: 5e6 }],
  ])('reads the block: %s', (_what, json, expected) => {
    expect(parse(json)).toMatchObject({ ...expected, unmodelledBlock: null });
  });

  it.each([
    [GEMMA, /four norms/],
    [{ ...LLAMA, model_type: 'qwen3' }, /normalises queries and keys/],
    [{ ...LLAMA, partial_rotary_factor: 0.5 }, /a part of each head/],
  ])('says what scopes layer and step do not compute', (json, reason) => {
    expect(parse(json).unmodelledBlock).toMatch(reason);
  });

  it.each([
    [{ ...LLAMA, rope_theta: 0 }, '/rope_theta'],
    [{ ...LLAMA, rope_parameters: { rope_theta: 'x' } }, '/rope_parameters/rope_theta'],
    [{ ...LLAMA, rms_norm_eps: -1 }, '/rms_norm_eps'],
    [{ ...LLAMA, attention_bias: 'yes' }, '/attention_bias'],
  ])('refuses %j', (json, pointer) => {
    expect(refusal(json).message).toContain(pointer);
  });

  it('reads OPT: ffn_dim, biases, every head its own KV head', () => {
    expect(parse(OPT)).toMatchObject({
      family: 'opt',
      intermediateSize: 3072,
      numKvHeads: 12,
      headDim: 64,
      activation: 'relu',
      gated: false,
      mlpBias: true,
    });
    expect(parse({ ...OPT, enable_bias: false }).mlpBias).toBe(false);
    const { word_embed_proj_dim: _, ...bare } = OPT;
    expect(parse(bare).hiddenSize).toBe(768);
  });

  it.each(['mistral', 'qwen2', 'phi3'])('reads %s like LLaMA', (model_type) => {
    expect(parse({ ...LLAMA, model_type })).toMatchObject({ family: 'llama', gated: true, headDim: 128 });
  });

  it('takes head_dim where it is given, also when it is not hidden_size / heads', () => {
    const qwen3 = {
      ...LLAMA,
      model_type: 'qwen3',
      hidden_size: 1024,
      num_attention_heads: 16,
      head_dim: 128,
    };
    expect(parse(qwen3)).toMatchObject({ headDim: 128, hiddenSize: 1024, numQoHeads: 16 });
  });

  it('uses the width that Qwen3 and Gemma define where head_dim is absent', () => {
    const { head_dim: _, ...gemma } = GEMMA;
    expect(parse(gemma).headDim).toBe(256);
    const qwen3 = { ...LLAMA, model_type: 'qwen3', hidden_size: 1024, num_attention_heads: 16 };
    expect(parse(qwen3).headDim).toBe(128);
  });

  it.each(['gemma', 'gemma2', 'gemma3_text'])('reads %s, whose GELU is the tanh form', (model_type) => {
    expect(parse({ ...GEMMA, model_type })).toMatchObject({
      headDim: 256,
      activation: 'gelu-tanh',
      gated: true,
    });
    const legacy = { ...GEMMA, model_type, hidden_act: 'gelu', hidden_activation: null };
    expect(parse(legacy).activation).toBe('gelu-tanh');
  });

  it('gives every query head its own KV head where num_key_value_heads is absent or null', () => {
    const { num_key_value_heads: _, ...absent } = LLAMA;
    expect(parse(absent).numKvHeads).toBe(32);
    expect(parse({ ...LLAMA, num_key_value_heads: null }).numKvHeads).toBe(32);
  });

  it.each([
    ['relu', 'relu'],
    ['gelu', 'gelu'],
    ['gelu_new', 'gelu-tanh'],
    ['gelu_fast', 'gelu-tanh'],
    ['gelu_pytorch_tanh', 'gelu-tanh'],
    ['silu', 'silu'],
    ['swish', 'silu'],
  ])('maps the activation %s to %s', (hidden_act, expected) => {
    expect(parse({ ...LLAMA, hidden_act }).activation).toBe(expected);
  });

  it('reads the decoder of a multimodal file from text_config', () => {
    const multimodal = { model_type: 'llava', text_config: LLAMA, vision_config: { hidden_size: 1024 } };
    expect(parse(multimodal)).toMatchObject({ hiddenSize: 4096, numKvHeads: 8 });
    const broken = { model_type: 'llava', text_config: { ...LLAMA, hidden_size: 0 } };
    expect(refusal(broken).message).toContain('/text_config/hidden_size in config.json');
  });

  it('reads the root where the root has the dimensions, whatever text_config repeats', () => {
    expect(parse({ ...LLAMA, text_config: { ...LLAMA, hidden_size: 512 } }).hiddenSize).toBe(4096);
  });

  it('accepts expert and latent keys that are switched off', () => {
    expect(parse({ ...LLAMA, num_local_experts: 0, q_lora_rank: null }).hiddenSize).toBe(4096);
  });
});

describe('names', () => {
  it('keeps what the file calls itself, cut to 100 characters', () => {
    expect(parse({ ...LLAMA, _name_or_path: 'org/Model-8B' }).name).toBe('org/Model-8B');
    expect(parse({ ...LLAMA, _name_or_path: 'x'.repeat(5000) }).name).toBe('x'.repeat(100));
  });

  it.each(['', '  ', '/home/someone/model', './here', '~/model', 'C:\\models\\m', 7, null])(
    'falls back from %j',
    (name) => {
      expect(parse({ ...LLAMA, _name_or_path: name }).name).toBe('fallback');
    },
  );
});

describe('what is refused whole', () => {
  it.each([
    [{ ...LLAMA, num_experts: 8 }, '/num_experts'],
    [{ ...LLAMA, num_local_experts: 8 }, '/num_local_experts'],
    [{ ...LLAMA, n_routed_experts: 64 }, '/n_routed_experts'],
    [{ ...LLAMA, num_local_experts: '8' }, '/num_local_experts'],
    [{ ...LLAMA, model_type: 'mixtral' }, '/model_type'],
    [{ ...LLAMA, model_type: 'qwen3_moe' }, '/model_type'],
    [{ ...LLAMA, model_type: 'deepseek_v3' }, '/model_type'],
    [{ ...LLAMA, kv_lora_rank: 512 }, '/kv_lora_rank'],
    [{ ...LLAMA, q_lora_rank: 1536 }, '/q_lora_rank'],
    [{ ...LLAMA, model_type: 'gpt2' }, '/model_type'],
    [{ ...LLAMA, model_type: 'toString' }, '/model_type'],
    [{ ...LLAMA, model_type: undefined }, '/model_type'],
    [{ ...LLAMA, model_type: 3 }, '/model_type'],
    [{ ...LLAMA, num_key_value_heads: 5 }, '/num_key_value_heads'],
    [{ ...LLAMA, num_key_value_heads: 64 }, '/num_key_value_heads'],
    [{ ...LLAMA, num_attention_heads: 33, num_key_value_heads: 33 }, '/num_attention_heads'],
    [{ ...LLAMA, head_dim: 100 }, '/head_dim'],
    [{ ...LLAMA, head_dim: 264 }, '/head_dim'],
    [{ ...LLAMA, num_attention_heads: 8 }, '/num_attention_heads'],
    [{ ...LLAMA, hidden_size: 4100, head_dim: 128 }, '/hidden_size'],
    [{ ...LLAMA, hidden_size: 0 }, '/hidden_size'],
    [{ ...LLAMA, hidden_size: -4096 }, '/hidden_size'],
    [{ ...LLAMA, hidden_size: 4096.5 }, '/hidden_size'],
    [{ ...LLAMA, hidden_size: '4096' }, '/hidden_size'],
    [{ ...LLAMA, hidden_size: 1e12 }, '/hidden_size'],
    [{ ...LLAMA, num_hidden_layers: 1e9 }, '/num_hidden_layers'],
    [{ ...LLAMA, intermediate_size: [11008] }, '/intermediate_size'],
    [{ ...LLAMA, hidden_act: 'quick_gelu' }, '/hidden_act'],
    [{ ...LLAMA, hidden_act: 'constructor' }, '/hidden_act'],
    [{ ...LLAMA, mlp_bias: true }, '/mlp_bias'],
    [{ ...LLAMA, mlp_bias: 1 }, '/mlp_bias'],
    [{ ...OPT, word_embed_proj_dim: 512 }, '/word_embed_proj_dim'],
    [{ ...OPT, do_layer_norm_before: false }, '/do_layer_norm_before'],
    [{ model_type: 'llava', n_routed_experts: 8, text_config: LLAMA }, '/n_routed_experts'],
  ])('%#: %s at %s', (json, pointer) => {
    const error = refusal(json);
    expect(error.exitCode).toBe(2);
    expect(error.message).toMatch(/^Expected .+ for .+ in config\.json, got .+$/);
    expect(error.message).toContain(`for ${pointer} in config.json`);
  });

  it.each([
    'hidden_size',
    'intermediate_size',
    'num_hidden_layers',
    'num_attention_heads',
    'vocab_size',
    'hidden_act',
  ])('a file without %s', (key) => {
    const error = refusal(Object.fromEntries(Object.entries(LLAMA).filter(([k]) => k !== key)));
    expect(error.message).toContain(`/${key} in config.json, got nothing`);
    expect(error.hint).toBe('The key is missing.');
  });

  it('names near architectures', () => {
    expect(refusal({ ...LLAMA, model_type: 'phi' }).hint).toContain('phi3');
    expect(refusal({ ...LLAMA, model_type: 'falcon' }).message).toContain('opt, llama, mistral');
  });

  it('lets no escape sequence of the file into a message', () => {
    const { message } = refusal({ ...LLAMA, model_type: '\u001b[2J\u009b31m' });
    expect(Array.from(message).filter(isControl)).toEqual([]);
  });

  it('never answers arbitrary values of the keys with anything but a checked shape or a ConfigError', () => {
    const value = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.constant(null),
      fc.boolean(),
      fc.constant([]),
    );
    const overrides = fc.dictionary(fc.constantFrom(...Object.keys(LLAMA), 'head_dim', 'text_config'), value);
    fc.assert(
      fc.property(overrides, (changed) => {
        const shape = shapeOrConfigError({ ...LLAMA, ...changed });
        const refusedOrChecked =
          shape instanceof ConfigError ||
          (shape.numQoHeads % shape.numKvHeads === 0 &&
            shape.headDim % 8 === 0 &&
            shape.headDim <= 256 &&
            shape.hiddenSize % 8 === 0);
        expect(refusedOrChecked).toBe(true);
      }),
    );
  });
});

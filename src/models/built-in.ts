import { z } from 'zod';
import { configError, parseJsonObject, valueAt } from '../core/json.js';
import {
  ACTIVATIONS,
  blockDefaults,
  MODEL_FAMILIES,
  type BlockShape,
  type ModelShape,
} from '../core/model-shape.js';
import { didYouMean } from '../core/nearest.js';
import { count, MAX_NAME_CHARS, MODEL_LIMITS, positive } from './count.js';
import { checkDimensions } from './dimensions.js';

const text = z.string('a non-empty text').min(1, 'a non-empty text').max(500, 'at most 500 characters');
const DENSITY = 'a density in (0, 1]';
const sourcedDensity = z.strictObject(
  { value: z.number(DENSITY).gt(0, DENSITY).max(1, DENSITY), source: text },
  'an object with value and source',
);
const sourcedKvLen = z.strictObject(
  { value: count(MODEL_LIMITS.kvLen), source: text },
  'an object with value and source',
);

/**
 * A file of configs/models. Every key is required except default_mlp_density, where null says that nothing is published,
 * and those of the block (qkv_bias to norm_epsilon), where an absent one means the default of the family.
 */
const builtInModelSchema = z.strictObject({
  name: text.max(MAX_NAME_CHARS, `at most ${MAX_NAME_CHARS} characters`),
  family: z.enum(MODEL_FAMILIES, `one of ${MODEL_FAMILIES.join(', ')}`),
  num_layers: count(MODEL_LIMITS.numLayers),
  hidden_size: count(MODEL_LIMITS.hiddenSize),
  intermediate_size: count(MODEL_LIMITS.intermediateSize),
  num_qo_heads: count(MODEL_LIMITS.heads),
  num_kv_heads: count(MODEL_LIMITS.heads),
  head_dim: count(MODEL_LIMITS.headDim),
  vocab_size: count(MODEL_LIMITS.vocabSize),
  activation: z.enum(ACTIVATIONS, `one of ${ACTIVATIONS.join(', ')}`),
  gated: z.boolean('true or false'),
  mlp_bias: z.boolean('true or false'),
  qkv_bias: z.boolean('true or false').optional(),
  out_bias: z.boolean('true or false').optional(),
  rope_theta: positive(MODEL_LIMITS.ropeTheta).optional(),
  norm_epsilon: positive(1).optional(),
  critical_head_density: sourcedDensity.nullable(),
  reference_kv_len: sourcedKvLen.nullable(),
  default_mlp_density: sourcedDensity.nullable().optional(),
  source: text,
});

/**
 * Reads a model file in the format of configs/models.
 * @param content text of the file
 * @param origin file name for messages
 * @returns the shape, checked
 * @throws ConfigError naming the file and the JSON pointer of the first key that is wrong
 */
export function parseBuiltInModel(content: string, origin: string): ModelShape {
  const json = parseJsonObject(content, origin);
  const parsed = builtInModelSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    if (issue.code === 'unrecognized_keys') {
      const key = issue.keys[0]!;
      const hint = didYouMean(key, Object.keys(builtInModelSchema.shape));
      throw configError(origin, [...issue.path, key], 'a known key', key, hint);
    }
    throw configError(origin, issue.path, issue.message, valueAt(json, issue.path));
  }
  const file = parsed.data;
  const shape: ModelShape = {
    name: file.name,
    family: file.family,
    numLayers: file.num_layers,
    hiddenSize: file.hidden_size,
    intermediateSize: file.intermediate_size,
    numQoHeads: file.num_qo_heads,
    numKvHeads: file.num_kv_heads,
    headDim: file.head_dim,
    vocabSize: file.vocab_size,
    activation: file.activation,
    gated: file.gated,
    mlpBias: file.mlp_bias,
    ...blockOf(file, origin),
    criticalHeadDensity: file.critical_head_density,
    defaultMlpDensity: file.default_mlp_density ?? null,
    referenceKvLen: file.reference_kv_len,
    source: file.source,
  };
  const keys = {
    hiddenSize: ['hidden_size'],
    intermediateSize: ['intermediate_size'],
    numQoHeads: ['num_qo_heads'],
    numKvHeads: ['num_kv_heads'],
    headDim: ['head_dim'],
  };
  checkDimensions(shape, keys, origin);
  return shape;
}

function blockOf(file: z.infer<typeof builtInModelSchema>, origin: string): BlockShape {
  const usual = blockDefaults(file.family);
  if (usual.ropeTheta === null && file.rope_theta !== undefined) {
    const hint = 'Models of this family learn their positions.';
    throw configError(origin, ['rope_theta'], 'no rotary angles', file.rope_theta, hint);
  }
  return {
    qkvBias: file.qkv_bias ?? usual.qkvBias,
    outBias: file.out_bias ?? usual.outBias,
    ropeTheta: file.rope_theta ?? usual.ropeTheta,
    normEpsilon: file.norm_epsilon ?? usual.normEpsilon,
    unmodelledBlock: null,
  };
}

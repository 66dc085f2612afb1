import { z } from 'zod';
import { configError, parseJsonObject, quoted, valueAt } from '../core/json.js';
import { type Activation, blockDefaults, type BlockShape, type ModelShape } from '../core/model-shape.js';
import { didYouMean } from '../core/nearest.js';
import { count, MAX_NAME_CHARS, MODEL_LIMITS, positive } from './count.js';
import { checkDimensions } from './dimensions.js';
import {
  EXPERT_KEYS,
  EXPERT_MODEL_TYPE,
  HF_ACTIVATIONS,
  HF_FAMILIES,
  LATENT_ATTENTION_KEYS,
  type HfFamily,
} from './hf-families.js';

type JsonObject = Readonly<Record<string, unknown>>;

/** A part of a file: the object that holds a decoder's dimensions, and where in the file it is. */
interface Section {
  readonly json: JsonObject;
  readonly path: readonly string[];
  readonly origin: string;
}

const dimensionsSchema = z.looseObject({
  hidden_size: count(MODEL_LIMITS.hiddenSize),
  num_hidden_layers: count(MODEL_LIMITS.numLayers),
  num_attention_heads: count(MODEL_LIMITS.heads),
  vocab_size: count(MODEL_LIMITS.vocabSize),
});
const groupedSchema = z.looseObject({
  num_key_value_heads: count(MODEL_LIMITS.heads).nullish(),
  head_dim: count(MODEL_LIMITS.hiddenSize).nullish(),
});

/**
 * Reads the dimensions from a Hugging Face `config.json`.
 * Only dimensions are read: a sliding window, rotary scaling or logit soft-capping changes neither the bytes per
 * attended position nor the shapes, so `kvLen` means the positions that a layer attends to.
 * @param content text of the file, untrusted
 * @param origin file name for messages
 * @param fallbackName name of the model where the file does not call itself anything
 * @returns the shape; nothing is published for it, so densities and reference length are null
 * @throws ConfigError for whatever the kernels do not model (experts, latent attention, unknown architectures or
 *   activations, dimensions out of range), naming file and JSON pointer
 */
export function parseHuggingFaceConfig(content: string, origin: string, fallbackName = 'model'): ModelShape {
  const root = parseJsonObject(content, origin);
  const section = decoderSection(root, origin);
  refuseUnmodelled(section);
  const hf = familyOf(section);
  const dims = readCounts(dimensionsSchema, section);
  const heads = readHeads(hf, section, dims);
  const intermediate = readCounts(
    z.looseObject({ [hf.intermediateKey]: count(MODEL_LIMITS.intermediateSize) }),
    section,
  );
  if (hf.family === 'opt') checkOpt(section, dims.hidden_size);
  const shape: ModelShape = {
    name: nameOf(root, fallbackName),
    family: hf.family,
    numLayers: dims.num_hidden_layers,
    hiddenSize: dims.hidden_size,
    intermediateSize: intermediate[hf.intermediateKey]!,
    ...heads,
    vocabSize: dims.vocab_size,
    activation: readActivation(hf, section),
    gated: hf.gated,
    mlpBias: readBias(section, hf.biasKey),
    ...readBlock(hf, section),
    criticalHeadDensity: null,
    defaultMlpDensity: null,
    referenceKvLen: null,
    source: `Hugging Face configuration, model_type ${hf.modelType}`,
  };
  const at = (key: string): readonly string[] => [...section.path, key];
  const headDimGiven = hf.grouped && typeof section.json['head_dim'] === 'number';
  const keys = {
    hiddenSize: at('hidden_size'),
    intermediateSize: at(hf.intermediateKey),
    numQoHeads: at('num_attention_heads'),
    numKvHeads: at('num_key_value_heads'),
    headDim: at(headDimGiven ? 'head_dim' : 'num_attention_heads'),
  };
  checkDimensions(shape, keys, origin);
  return shape;
}

/** The object with the decoder's dimensions: the root, or `text_config` of a model that also sees or hears. */
function decoderSection(root: JsonObject, origin: string): Section {
  const text = root['text_config'];
  const nested = typeof text === 'object' && text !== null && !Array.isArray(text);
  if (nested && !('hidden_size' in root)) {
    refuseUnmodelled({ json: root, path: [], origin });
    return { json: text as JsonObject, path: ['text_config'], origin };
  }
  return { json: root, path: [], origin };
}

function fail(section: Section, key: string, expected: string, hint?: string): never {
  throw configError(section.origin, [...section.path, key], expected, section.json[key], hint);
}

/** Files of dense models may carry such a key switched off. */
const off = (value: unknown): boolean =>
  value === undefined || value === null || value === 0 || value === false;

function refuseUnmodelled(section: Section): void {
  for (const key of EXPERT_KEYS) {
    if (!off(section.json[key])) {
      fail(section, key, 'a dense MLP', 'Mixtures of experts are not modelled; polar-bench refuses them.');
    }
  }
  for (const key of LATENT_ATTENTION_KEYS) {
    if (!off(section.json[key])) {
      fail(
        section,
        key,
        'plain attention',
        'Multi-head latent attention is not modelled; polar-bench refuses it.',
      );
    }
  }
  const type = section.json['model_type'];
  if (typeof type === 'string' && EXPERT_MODEL_TYPE.test(type)) {
    fail(
      section,
      'model_type',
      'a dense model',
      'Mixtures of experts are not modelled; polar-bench refuses them.',
    );
  }
}

function familyOf(section: Section): HfFamily {
  const known = HF_FAMILIES.map((f) => f.modelType);
  const type = section.json['model_type'];
  const found = HF_FAMILIES.find((f) => f.modelType === type);
  if (found !== undefined) return found;
  const expected = `one of ${known.join(', ')}`;
  if (typeof type !== 'string')
    fail(section, 'model_type', expected, 'The file must be a Hugging Face config.json.');
  fail(section, 'model_type', expected, `${didYouMean(type, known)} Other architectures are refused.`);
}

function readCounts<T extends z.ZodType>(schema: T, section: Section): z.infer<T> {
  const parsed = schema.safeParse(section.json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const path = [...section.path, ...issue.path];
  throw configError(section.origin, path, issue.message, valueAt(section.json, issue.path));
}

function readHeads(
  hf: HfFamily,
  section: Section,
  dims: z.infer<typeof dimensionsSchema>,
): Pick<ModelShape, 'numQoHeads' | 'numKvHeads' | 'headDim'> {
  const numQoHeads = dims.num_attention_heads;
  const given = hf.grouped ? readCounts(groupedSchema, section) : {};
  const numKvHeads = given.num_key_value_heads ?? numQoHeads;
  const headDim = given.head_dim ?? hf.headDimFallback;
  if (headDim !== null) return { numQoHeads, numKvHeads, headDim };
  if (dims.hidden_size % numQoHeads !== 0) {
    const expected = `a divisor of hidden_size ${dims.hidden_size}`;
    fail(
      section,
      'num_attention_heads',
      expected,
      'The heads must divide hidden_size where head_dim is not given.',
    );
  }
  return { numQoHeads, numKvHeads, headDim: dims.hidden_size / numQoHeads };
}

function checkOpt(section: Section, hiddenSize: number): void {
  const projection = section.json['word_embed_proj_dim'] ?? hiddenSize;
  if (projection !== hiddenSize) {
    const hint = 'Embeddings that are projected to another width (OPT-350M) are not modelled.';
    fail(section, 'word_embed_proj_dim', `hidden_size ${hiddenSize}`, hint);
  }
  if (!readSwitch(section, 'do_layer_norm_before', true)) {
    fail(
      section,
      'do_layer_norm_before',
      'true',
      'Blocks that normalise after the sum (OPT-350M) are not modelled.',
    );
  }
}

function readSwitch(section: Section, key: string, fallback: boolean): boolean {
  const value = section.json[key] ?? fallback;
  if (typeof value !== 'boolean') fail(section, key, 'true or false');
  return value;
}

function readBias(section: Section, key: HfFamily['biasKey']): boolean {
  return key === null ? false : readSwitch(section, key.key, key.fallback);
}

/** Projections, positions and norms of a layer. Scaled rotary angles cost what plain ones cost: only their base is read. */
function readBlock(hf: HfFamily, section: Section): BlockShape {
  const bias = readBias(section, hf.attentionBiasKey);
  const key = hf.epsilonKey?.key;
  const epsilon = key === undefined ? undefined : readPositive(section, key, 1);
  const rotated = partlyRotated(section);
  return {
    qkvBias: bias || hf.qkvBiasOnly,
    outBias: bias,
    ropeTheta: hf.ropeThetaFallback === null ? null : (readTheta(section) ?? hf.ropeThetaFallback),
    normEpsilon: epsilon ?? hf.epsilonKey?.fallback ?? blockDefaults(hf.family).normEpsilon,
    unmodelledBlock: hf.unmodelledBlock ?? (rotated ? 'it turns only a part of each head' : null),
  };
}

/** Base of the rotary angles: of the file, or of its `rope_parameters` where newer files keep it. */
function readTheta(section: Section): number | undefined {
  const nested = section.json['rope_parameters'];
  const inner = typeof nested === 'object' && nested !== null && 'rope_theta' in nested;
  if (section.json['rope_theta'] !== undefined || !inner) {
    return readPositive(section, 'rope_theta', MODEL_LIMITS.ropeTheta);
  }
  const path = [...section.path, 'rope_parameters'];
  const at = { json: nested as JsonObject, path, origin: section.origin };
  return readPositive(at, 'rope_theta', MODEL_LIMITS.ropeTheta);
}

function partlyRotated(section: Section): boolean {
  const share = section.json['partial_rotary_factor'];
  return typeof share === 'number' && share !== 1;
}

function readPositive(section: Section, key: string, max: number): number | undefined {
  const read = readCounts(z.looseObject({ [key]: positive(max).nullish() }), section);
  return read[key] ?? undefined;
}

function readActivation(hf: HfFamily, section: Section): Activation {
  const names = Object.keys(HF_ACTIVATIONS);
  const value = section.json[hf.activationKey] ?? hf.activationFallback;
  if (typeof value === 'string' && Object.hasOwn(HF_ACTIVATIONS, value)) return HF_ACTIVATIONS[value]!;
  const hint = typeof value === 'string' ? `${quoted(value)} is not computed by the kernels.` : undefined;
  fail(section, hf.activationKey, `one of ${names.join(', ')}`, hint);
}

/** What the file calls itself, unless that is a path on somebody's machine; untrusted, cut to MAX_NAME_CHARS. */
function nameOf(root: JsonObject, fallbackName: string): string {
  const own = root['_name_or_path'];
  const usable = typeof own === 'string' && own.trim() !== '' && !/^[./~\\]|^[A-Za-z]:/.test(own);
  return (usable ? own : fallbackName).slice(0, MAX_NAME_CHARS);
}

import { z } from 'zod';
import { CATALOG } from '../core/catalog.js';
import {
  BACKENDS,
  CACHE_MODES,
  cellKey,
  DTYPES,
  SCOPES,
  VARIANTS,
  type Candidate,
  type Cell,
} from '../core/cell.js';
import { ACTIVATIONS, blockDefaults, MODEL_FAMILIES, type ModelShape } from '../core/model-shape.js';
import { toCamelCase, toSnakeCase, type SnakeKeys } from './snake-case.js';

/** Dimensions are int32 in native code; products of all of them stay finite. */
const dimension = z.int().positive().max(0x7f_ff_ff_ff);
const sourced = z.strictObject({ value: z.number(), source: z.string() }).nullable();

/** Files of older versions lack the keys of the block: they mean the defaults of the family. */
const model = z
  .strictObject({
    name: z.string(),
    family: z.enum(MODEL_FAMILIES),
    // As native code: a plan that was edited into a billion layers must not be expanded.
    num_layers: dimension.max(4096),
    hidden_size: dimension,
    intermediate_size: dimension,
    num_qo_heads: dimension,
    num_kv_heads: dimension,
    head_dim: dimension,
    vocab_size: dimension,
    activation: z.enum(ACTIVATIONS),
    gated: z.boolean(),
    mlp_bias: z.boolean(),
    qkv_bias: z.boolean().optional(),
    out_bias: z.boolean().optional(),
    rope_theta: z.number().positive().nullable().optional(),
    norm_epsilon: z.number().positive().optional(),
    unmodelled_block: z.string().nullable().optional(),
    critical_head_density: sourced,
    default_mlp_density: sourced,
    reference_kv_len: sourced,
    source: z.string(),
  } satisfies SnakeKeys<ModelShape>)
  .refine((m) => m.num_qo_heads % m.num_kv_heads === 0, 'heads that are no multiple of the KV heads')
  .transform((m) => ({ ...(toSnakeCase(blockDefaults(m.family)) as object), ...m }));

/** Kernel and variant of a candidate; its result repeats them. */
export const candidateNames = { kernel: z.string(), variant: z.enum(VARIANTS) };

const shape = z.strictObject({
  key: z.string(),
  model,
  backend: z.enum(BACKENDS),
  device: z.int().nonnegative().max(0x7f_ff_ff_ff),
  scope: z.enum(SCOPES),
  batch_size: dimension,
  kv_len: dimension.nullable(),
  dtype: z.enum(DTYPES),
  cache_mode: z.enum(CACHE_MODES),
  seed: z.int().nonnegative(),
  candidates: z
    .array(
      z.strictObject({
        ...candidateNames,
        active_heads: dimension.nullable(),
        active_neurons: dimension.nullable(),
        layer_active_neurons: z.array(dimension).nullable().default(null),
        density_source: z.string(),
      } satisfies SnakeKeys<Candidate>),
    )
    .min(1),
} satisfies SnakeKeys<Cell>);

/** Why a candidate cannot be one of its cell; null where it can. */
function impossible(cell: Cell, candidate: Candidate): string | null {
  const { model: m, scope, kvLen } = cell;
  const { activeHeads: heads, activeNeurons: neurons } = candidate;
  const kernel = CATALOG.find((k) => k.id === candidate.kernel);
  if (kernel === undefined || kernel.scope !== scope || kernel.variant !== candidate.variant)
    return 'a kernel that the scope does not have';
  const block = scope === 'layer' || scope === 'step';
  if ((scope === 'attention' || block) && kvLen === null) return 'attention without a length';
  if (scope === 'attention' || block || kernel.id === 'router/attention-topk') {
    const whole = heads !== null && heads <= m.numQoHeads && heads % (m.numQoHeads / m.numKvHeads) === 0;
    if (!whole) return 'heads that are no whole groups';
    if (!block) return null;
  }
  const counts = [neurons, ...(candidate.layerActiveNeurons ?? [])];
  if (counts.some((n) => n === null || n > m.intermediateSize)) return 'more neurons than there are, or none';
  const layers = candidate.layerActiveNeurons?.length ?? m.numLayers;
  return !block || scope === 'layer' || layers === m.numLayers
    ? null
    : 'neurons of other layers than the model has';
}

/**
 * A cell as files hold it, spelled as in code. The key must be that of its values: a problem that was edited under its
 * old key would be taken for measured, or measured as something else.
 */
export const cellSchema = shape.transform((stored, context): Cell => {
  // The schema has checked every key and value; only the spelling of the keys differs.
  const cell = toCamelCase(stored) as Cell;
  const problem = cell.candidates.map((c) => impossible(cell, c)).find((p) => p !== null);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  else if (cellKey(cell) !== cell.key)
    context.addIssue({ code: 'custom', message: 'a key that is not that of the cell' });
  return cell;
});

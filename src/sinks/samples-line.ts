import { z } from 'zod';
import { BACKENDS, CACHE_MODES, DTYPES, SCOPES, VARIANTS, type Candidate, type Cell } from '../core/cell.js';
import { ACTIVATIONS, blockDefaults, MODEL_FAMILIES, type ModelShape } from '../core/model-shape.js';
import {
  STOPS,
  type CandidateIncorrect,
  type CandidateNotMeasured,
  type CandidateOk,
  type CandidateOutcome,
  type CellRecord,
  type StepPart,
  type Verification,
} from '../core/outcome.js';
import { escapeJsonForTerminal } from '../report/sanitize.js';
import { toCamelCase, toSnakeCase, type SnakeKeys } from './snake-case.js';

/** JSON has no NaN and no infinity, and a failed check may well have found one: they are written as text. */
const nonFinite = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

const anyNumber = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity']).transform(Number)]);
const count = z.int().nonnegative();
const texts = z.array(z.string());
const perRound = z.array(z.number().nullable());

const verification = z.strictObject({
  passed: z.boolean(),
  max_abs_err: anyNumber,
  max_rel_err: anyNumber,
  tolerance_used: anyNumber,
  rows_checked: count,
  rows_failed: count,
  worst_row: count.nullable(),
  repeats_equal: z.boolean(),
} satisfies SnakeKeys<Verification>);

const part = z.strictObject({ name: z.string(), ns: z.number() } satisfies SnakeKeys<StepPart>);

const names = { kernel: z.string(), variant: z.enum(VARIANTS) };

const candidate = z.discriminatedUnion('status', [
  z.strictObject({
    ...names,
    status: z.literal('ok'),
    verification,
    samples_ns: perRound,
    clock_mhz: perRound,
    runs_per_sample: count,
    rotation_copies: count,
    samples_discarded: count,
    energy_mj: z.number().nullable(),
    resident_layers: count.nullable().default(null),
    parts: z.array(part).nullable().default(null),
    warnings: texts,
  } satisfies SnakeKeys<CandidateOk>),
  z.strictObject({
    ...names,
    status: z.literal('incorrect'),
    reason: z.string(),
    verification,
    warnings: texts,
  } satisfies SnakeKeys<CandidateIncorrect>),
  z.strictObject({
    ...names,
    status: z.enum(['failed', 'skipped']),
    code: z.string().nullable(),
    reason: z.string(),
    warnings: texts,
  } satisfies SnakeKeys<CandidateNotMeasured>),
]);

const sourced = z.strictObject({ value: z.number(), source: z.string() }).nullable();

/** Files of older versions lack the keys of the block: they mean the defaults of the family. */
const model = z
  .strictObject({
    name: z.string(),
    family: z.enum(MODEL_FAMILIES),
    num_layers: count,
    hidden_size: count,
    intermediate_size: count,
    num_qo_heads: count,
    num_kv_heads: count,
    head_dim: count,
    vocab_size: count,
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
  .transform((m) => ({ ...(toSnakeCase(blockDefaults(m.family)) as object), ...m }));

export const cellSchema = z.strictObject({
  key: z.string(),
  model,
  backend: z.enum(BACKENDS),
  device: count,
  scope: z.enum(SCOPES),
  batch_size: count,
  kv_len: count.nullable(),
  dtype: z.enum(DTYPES),
  cache_mode: z.enum(CACHE_MODES),
  seed: z.number(),
  candidates: z.array(
    z.strictObject({
      ...names,
      active_heads: count.nullable(),
      active_neurons: count.nullable(),
      layer_active_neurons: z.array(count).nullable().default(null),
      density_source: z.string(),
    } satisfies SnakeKeys<Candidate>),
  ),
} satisfies SnakeKeys<Cell>);

const record = z
  .strictObject({
    cell: cellSchema,
    candidates: z.array(candidate),
    stop: z.enum(STOPS),
    warnings: texts,
    timestamp: z.string(),
  })
  .refine((r) => r.candidates.length === r.cell.candidates.length, 'not as many results as candidates');

/** A cell and its outcome as one line of JSON, without line break. */
export function recordToLine({ cell: ofCell, outcome, timestamp }: CellRecord): string {
  const candidates = outcome.candidates.map((result, i) => ({
    kernel: ofCell.candidates[i]?.kernel,
    variant: ofCell.candidates[i]?.variant,
    ...result,
  }));
  const line = { cell: ofCell, candidates, stop: outcome.stop, warnings: outcome.warnings, timestamp };
  return escapeJsonForTerminal(JSON.stringify(toSnakeCase(line), nonFinite));
}

/**
 * The inverse of recordToLine.
 *
 * @throws Error that says what is wrong when the line is not JSON or not a record (SyntaxError or ZodError)
 */
export function lineToRecord(line: string): CellRecord {
  const parsed = record.parse(JSON.parse(line));
  const outcomes = parsed.candidates.map(({ kernel: _kernel, variant: _variant, ...result }) => result);
  return {
    // The schema has checked every key and value; only the spelling of the keys differs.
    cell: toCamelCase(parsed.cell) as Cell,
    outcome: {
      candidates: toCamelCase(outcomes) as CandidateOutcome[],
      stop: parsed.stop,
      warnings: parsed.warnings,
    },
    timestamp: parsed.timestamp,
  };
}

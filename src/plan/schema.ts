import { z } from 'zod';
import { BACKENDS, CACHE_MODES, DTYPES, SCOPES, VARIANTS } from '../core/cell.js';
import type { BackendName, CacheMode, Dtype, Scope, Variant } from '../core/cell.js';
import { configError, jsonPointer, parseJsonObject, valueAt } from '../core/json.js';
import { didYouMean } from '../core/nearest.js';
import { checkCounts, checkDensities, parseDensities, parseRange, type ValueOrigin } from './axes.js';
import { SWEEP_LIMITS, type SweepLimits } from './defaults.js';

/** Limits of the numeric options; the flags of the command line obey the same. */
export const OPTION_LIMITS = {
  device: { min: 0, max: 1023 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER },
  threads: { min: 0, max: 1024 },
  minSamples: { min: 3, max: 100_000 },
  warmup: { min: 1, max: 10_000 },
  /** Per cent, exclusive at 0 */
  maxNoisePercent: { min: 0, max: 100 },
  /** Seconds, exclusive at 0 */
  maxTimeS: { min: 0, max: 86_400 },
} as const;

const RANGE = 'an integer, a list of integers or a range such as "1-64*2"';
const DENSITIES = 'a density in (0, 1], a list of densities or text such as "22/72"';
const NAMES = 'a list of model names or paths';

function integer(limits: { min: number; max: number }, about: string) {
  const expected = `an integer from ${limits.min} to ${limits.max}`;
  return z
    .number(expected)
    .int(expected)
    .min(limits.min, expected)
    .max(limits.max, expected)
    .optional()
    .describe(about);
}

function positive(limits: { max: number }, about: string) {
  const expected = `a number above 0 and at most ${limits.max}`;
  return z.number(expected).gt(0, expected).max(limits.max, expected).optional().describe(about);
}

function oneOf<const T extends readonly string[]>(values: T, about: string) {
  return z
    .enum(values, `one of ${values.join(', ')}`)
    .optional()
    .describe(about);
}

function someOf<const T extends readonly string[]>(values: T, about: string) {
  const expected = `a list of ${values.join(', ')}`;
  return z
    .array(z.enum(values, `one of ${values.join(', ')}`), expected)
    .min(1, expected)
    .optional()
    .describe(about);
}

const range = z.union([z.string(), z.number(), z.array(z.number())], RANGE).optional();
const densities = z
  .union([z.string(), z.number(), z.array(z.union([z.number(), z.string()]))], DENSITIES)
  .optional();
const text = z.string('a text').min(1, 'a non-empty text').optional();

/** A sweep configuration file: the flags of `sweep` in snake_case, all optional. */
export const sweepConfigSchema = z.strictObject({
  $schema: text.describe('Path of configs/schema.json, for editors.'),
  description: text.describe('What the sweep is for; not used.'),
  models: z.array(z.string(NAMES).min(1, NAMES), NAMES).min(1, NAMES).optional().describe('As --model.'),
  batch: range.describe('Batch sizes B, as --batch.'),
  seq: range.describe('Positions N in the KV cache, as --seq; "8k" is 8192.'),
  variants: someOf(VARIANTS, 'As --variant.'),
  scopes: someOf(SCOPES, 'As --scope.'),
  head_density: densities.describe('Share of heads or KV groups, as --head-density.'),
  mlp_density: densities.describe('Share of neurons, or "union" for the published curve, as --mlp-density.'),
  mlp_topk: text.describe('CSV file or folder of layer,batch_size,optimal_k, as --mlp-topk.'),
  backend: oneOf(['auto', ...BACKENDS], 'As --backend.'),
  device: integer(OPTION_LIMITS.device, 'Ordinal of the device, as --device.'),
  dtype: oneOf(DTYPES, 'Storage type, as --dtype.'),
  seed: integer(OPTION_LIMITS.seed, 'Seed of data and index sets, as --seed.'),
  threads: integer(OPTION_LIMITS.threads, 'CPU threads, 0 = all, as --threads.'),
  min_samples: integer(OPTION_LIMITS.minSamples, 'Samples at least, as --min-samples.'),
  max_noise_percent: positive(
    OPTION_LIMITS.maxNoisePercent,
    'Relative half-width in per cent, as --max-noise.',
  ),
  max_time_s: positive(OPTION_LIMITS.maxTimeS, 'Seconds per cell, as --max-time.'),
  warmup: integer(OPTION_LIMITS.warmup, 'Untimed samples, as --warmup.'),
  cache: oneOf(CACHE_MODES, 'As --cache.'),
  breakdown: z.boolean('true or false').optional().describe('As --breakdown; scope step only.'),
});

/** A sweep configuration file, read: ranges and densities are lists, ascending and distinct. Absent: not said. */
export interface SweepConfig {
  readonly models?: readonly string[];
  readonly batchSizes?: readonly number[];
  readonly kvLens?: readonly number[];
  readonly variants?: readonly Variant[];
  readonly scopes?: readonly Scope[];
  readonly headDensities?: readonly number[];
  readonly mlpDensities?: readonly number[] | 'union';
  readonly mlpTopk?: string;
  readonly backend?: BackendName | 'auto';
  readonly device?: number;
  readonly dtype?: Dtype;
  readonly seed?: number;
  readonly threads?: number;
  readonly minSamples?: number;
  readonly maxNoisePercent?: number;
  readonly maxTimeS?: number;
  readonly warmup?: number;
  readonly cacheMode?: CacheMode;
  readonly breakdown?: boolean;
}

/**
 * Reads a sweep configuration file.
 * @param content text of the file
 * @param file its name, for messages
 * @param limits largest batch size and length
 * @throws ConfigError naming the file and the JSON pointer of the first value that is wrong
 */
export function parseSweepConfig(
  content: string,
  file: string,
  limits: SweepLimits = SWEEP_LIMITS,
): SweepConfig {
  const json = parseJsonObject(content, file);
  const parsed = sweepConfigSchema.safeParse(json);
  if (!parsed.success) throw issueError(parsed.error.issues[0]!, json, file);
  const c = parsed.data;
  const at = (key: string): ValueOrigin => ({ name: `${jsonPointer([key])} in ${file}`, fromFile: true });
  return defined({
    models: c.models,
    batchSizes: readRange(c.batch, at('batch'), limits.maxBatchSize),
    kvLens: readRange(c.seq, at('seq'), limits.maxKvLen),
    variants: c.variants,
    scopes: c.scopes,
    headDensities: readDensities(c.head_density, at('head_density')),
    mlpDensities: c.mlp_density === 'union' ? 'union' : readDensities(c.mlp_density, at('mlp_density')),
    mlpTopk: c.mlp_topk,
    backend: c.backend,
    device: c.device,
    dtype: c.dtype,
    seed: c.seed,
    threads: c.threads,
    minSamples: c.min_samples,
    maxNoisePercent: c.max_noise_percent,
    maxTimeS: c.max_time_s,
    warmup: c.warmup,
    cacheMode: c.cache,
    breakdown: c.breakdown,
  });
}

/** The JSON Schema of a sweep configuration file; configs/schema.json is this, written by scripts/generate-schema.mjs. */
export function sweepConfigJsonSchema(): Record<string, unknown> {
  return { title: 'polar-bench sweep configuration', ...z.toJSONSchema(sweepConfigSchema) };
}

function issueError(issue: z.core.$ZodIssue, json: unknown, file: string) {
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    const known = Object.keys(sweepConfigSchema.shape);
    return configError(file, [...issue.path, key], 'a known key', key, didYouMean(key, known));
  }
  return configError(file, issue.path, issue.message, valueAt(json, issue.path));
}

function readRange(value: z.infer<typeof range>, origin: ValueOrigin, max: number): number[] | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string') return parseRange(value, origin, max);
  return checkCounts(typeof value === 'number' ? [value] : value, origin, max);
}

function readDensities(value: z.infer<typeof densities>, origin: ValueOrigin): number[] | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string') return parseDensities(value, origin);
  const list = typeof value === 'number' ? [value] : value;
  return checkDensities(
    list.flatMap((item) => (typeof item === 'string' ? parseDensities(item, origin) : [item])),
    origin,
  );
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out what is undefined, so that a later `{ ...defaults, ...config }` keeps the defaults. */
function defined<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { configError, parseJsonObject, valueAt } from '../core/json.js';
import type { UnionCurves, UnionLayer } from '../core/union.js';

/** configs/activation of the package: two levels up from src/traces and from dist/traces alike. */
const ACTIVATION_FOLDER = fileURLToPath(new URL('../../configs/activation', import.meta.url));
const TOPK_FILE = 'topk-mean.json';

const positive = z.number().int().min(1);
const percent = z.number().min(0).max(100).nullable();

const curveSchema = z.strictObject({
  model: z.string().min(1),
  source: z.string().min(1),
  layers: positive,
  intermediate_size: positive,
  unit: z.string(),
  note: z.string().optional(),
  union_percent_by_batch: z.record(z.string().regex(/^[1-9]\d*$/), z.array(percent)),
});

const density = z.number().gt(0).max(1);
const topkSchema = z.strictObject({
  source: z.string().min(1),
  unit: z.string(),
  note: z.string(),
  mean_density_by_batch: z.record(z.string(), z.record(z.string().regex(/^[1-9]\d*$/), density)),
});

function check<T>(schema: z.ZodType<T>, text: string, origin: string): T {
  const json = parseJsonObject(text, origin);
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  throw configError(origin, path, issue?.message ?? 'a valid file', valueAt(json, path));
}

/**
 * Reads a published union curve in the format of configs/activation.
 * @param text content of the file; percent of neurons by batch size and layer, null = hidden in the figure
 * @param origin file name for messages
 * @throws ConfigError naming the file and the JSON pointer
 */
export function parseUnionCurves(text: string, origin: string): UnionCurves {
  const file = check(curveSchema, text, origin);
  const columns = Object.entries(file.union_percent_by_batch)
    .map(([batch, values]) => ({ batchSize: Number(batch), values }))
    .toSorted((a, b) => a.batchSize - b.batchSize);
  for (const { batchSize, values } of columns) {
    if (values.length !== file.layers) {
      const path = ['union_percent_by_batch', String(batchSize)];
      throw configError(origin, path, `${file.layers} values, one per layer`, values.length);
    }
  }
  const layers: UnionLayer[] = Array.from({ length: file.layers }, (_, layer) => ({
    layer,
    points: columns.map(({ batchSize, values }) => {
      const value = values[layer] ?? null;
      // 1.8 / 100 is 0.018000000000000002; the figure said 0.018.
      return { batchSize, density: value === null ? null : Number((value / 100).toPrecision(15)) };
    }),
  }));
  return {
    model: file.model,
    source: file.source,
    intermediateSize: file.intermediate_size,
    batchSizes: columns.map((c) => c.batchSize),
    layers,
  };
}

/** Models with a published union curve, in natural order (opt-6.7b before opt-66b). */
export function publishedUnionModels(): string[] {
  return readdirSync(ACTIVATION_FOLDER)
    .filter((file) => file.endsWith('.json') && file !== TOPK_FILE)
    .map((file) => file.slice(0, -'.json'.length))
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

const loaded = new Map<string, UnionCurves>();

/**
 * The published union curves of a model; null where none was published.
 * @param model name as in `publishedUnionModels()`; anything else, paths included, gives null
 */
export function publishedUnion(model: string): UnionCurves | null {
  const known = loaded.get(model);
  if (known !== undefined) return known;
  // Only names from the listing are opened: the text of a command line never becomes a path here.
  if (!publishedUnionModels().includes(model)) return null;
  const file = `${model}.json`;
  const curves = parseUnionCurves(
    readFileSync(join(ACTIVATION_FOLDER, file), 'utf8'),
    `configs/activation/${file}`,
  );
  loaded.set(model, curves);
  return curves;
}

/** Mean density over layers of the authors' top-k table of a model, by batch size; null where there is no table. */
export interface TopkMean {
  readonly source: string;
  /** k / D, 0..1, by batch size ascending */
  readonly points: readonly { readonly batchSize: number; readonly density: number }[];
}

export function publishedTopkMean(model: string): TopkMean | null {
  const file = check(
    topkSchema,
    readFileSync(join(ACTIVATION_FOLDER, TOPK_FILE), 'utf8'),
    `configs/activation/${TOPK_FILE}`,
  );
  if (!Object.hasOwn(file.mean_density_by_batch, model)) return null;
  const points = Object.entries(file.mean_density_by_batch[model] ?? {})
    .map(([batch, value]) => ({ batchSize: Number(batch), density: value }))
    .toSorted((a, b) => a.batchSize - b.batchSize);
  return { source: file.source, points };
}

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Cell } from '../core/cell.js';
import { SCOPES, VARIANTS } from '../core/cell.js';
import { UsageError } from '../core/errors.js';
import type { Exclusion, SamplingOptions, SweepPlan } from '../core/plan.js';
import { cellSchema } from './cell-schema.js';
import { toCamelCase, toSnakeCase, type SnakeKeys } from './snake-case.js';

/** One machine's part of a sweep: the index-th of count parts, from 1. */
export interface PlanShard {
  readonly index: number;
  readonly count: number;
}

/** What plan.json holds: the whole plan, also where only one shard of it is measured. */
export interface PlanFile {
  readonly plan: SweepPlan;
  /** null: all cells */
  readonly shard: PlanShard | null;
  /** How the user named the model of each name in the plan: a built-in name or a path */
  readonly modelArguments: Readonly<Record<string, string>>;
}

const schema = z.strictObject({
  cells: z
    .array(cellSchema)
    .refine((cells) => new Set(cells.map((c) => c.key)).size === cells.length, 'a cell that occurs twice'),
  exclusions: z.array(
    z.strictObject({
      model: z.string(),
      scope: z.enum(SCOPES),
      variant: z.enum(VARIANTS),
      reason: z.string(),
    } satisfies SnakeKeys<Exclusion>),
  ),
  sampling: z.strictObject({
    min_samples: z.int().positive(),
    max_samples: z.int().positive(),
    max_noise: z.number().positive(),
    max_time_s: z.number().positive(),
    warmup: z.int().nonnegative(),
    min_sample_us: z.number().nonnegative(),
  } satisfies SnakeKeys<SamplingOptions>),
  threads: z.int().nonnegative(),
  // Absent in files of older versions
  breakdown: z.boolean().default(false),
  shard: z
    .strictObject({ index: z.int().positive(), count: z.int().positive() })
    .refine((s) => s.index <= s.count, 'a shard beyond the last')
    .nullable(),
  model_arguments: z.record(z.string(), z.string()),
});

/** Keys of modelArguments are names, not identifiers: they keep their spelling. */
export function planDocument({ plan, shard, modelArguments }: PlanFile): Record<string, unknown> {
  return { ...(toSnakeCase({ ...plan, shard }) as object), model_arguments: modelArguments };
}

/** The cells that a shard measures: every count-th, so that shards are of like cost. */
export function shardCells(plan: SweepPlan, shard: PlanShard | null): readonly Cell[] {
  return shard === null ? plan.cells : plan.cells.filter((_, i) => i % shard.count === shard.index - 1);
}

/**
 * @param path of plan.json
 * @param name the folder as the user wrote it, for messages
 * @throws UsageError when there is none or it is not one of this version
 */
export function readPlan(path: string, name: string): PlanFile {
  try {
    const {
      shard,
      model_arguments: modelArguments,
      cells,
      ...rest
    } = schema.parse(JSON.parse(readFileSync(path, 'utf8')));
    // The schema has checked every key and value; only the spelling of the keys differs.
    return { plan: { ...(toCamelCase(rest) as Omit<SweepPlan, 'cells'>), cells }, shard, modelArguments };
  } catch (cause) {
    const why = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 200);
    throw new UsageError(
      `Expected a result folder of a sweep for ${name}, got no usable plan.json (${why})`,
      {
        hint: 'Name a folder that a sweep of this version has written.',
        cause,
      },
    );
  }
}

import { z } from 'zod';
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
import { candidateNames, cellSchema } from './cell-schema.js';
import { toCamelCase, toSnakeCase, type SnakeKeys } from './snake-case.js';

/** JSON has no NaN and no infinity, and a failed check may well have found one: they are written as text. */
const nonFinite = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

const anyNumber = z.union([z.number(), z.enum(['NaN', 'Infinity', '-Infinity']).transform(Number)]);
const count = z.int().nonnegative();
const texts = z.array(z.string());
/** One run takes between a picosecond and a week: what is computed of such samples is finite. */
const nanoseconds = z.number().min(1e-3).max(1e15);

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

const candidate = z.discriminatedUnion('status', [
  z.strictObject({
    ...candidateNames,
    status: z.literal('ok'),
    // What passed its check has an error, not a NaN.
    verification: verification.extend({ max_rel_err: z.number() }),
    samples_ns: z.array(nanoseconds.nullable()).min(1),
    clock_mhz: z.array(z.number().nonnegative().nullable()),
    runs_per_sample: count,
    rotation_copies: count,
    samples_discarded: count,
    energy_mj: z.number().nullable(),
    resident_layers: count.nullable().default(null),
    parts: z.array(part).nullable().default(null),
    warnings: texts,
  } satisfies SnakeKeys<CandidateOk>),
  z.strictObject({
    ...candidateNames,
    status: z.literal('incorrect'),
    reason: z.string(),
    verification,
    warnings: texts,
  } satisfies SnakeKeys<CandidateIncorrect>),
  z.strictObject({
    ...candidateNames,
    status: z.enum(['failed', 'skipped']),
    code: z.string().nullable(),
    reason: z.string(),
    warnings: texts,
  } satisfies SnakeKeys<CandidateNotMeasured>),
]);

const record = z
  .strictObject({
    cell: cellSchema,
    candidates: z.array(candidate),
    stop: z.enum(STOPS),
    warnings: texts,
    timestamp: z.string(),
  })
  .refine((r) => r.candidates.length === r.cell.candidates.length, 'not as many results as candidates')
  .refine(
    (r) =>
      r.candidates.every((c, i) => {
        const of = r.cell.candidates[i];
        return c.kernel === of?.kernel && c.variant === of.variant;
      }),
    'results of other kernels than the candidates',
  );

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
    cell: parsed.cell,
    outcome: {
      // The schema has checked every key and value; only the spelling of the keys differs.
      candidates: toCamelCase(outcomes) as CandidateOutcome[],
      stop: parsed.stop,
      warnings: parsed.warnings,
    },
    timestamp: parsed.timestamp,
  };
}

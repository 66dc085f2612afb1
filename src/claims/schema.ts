import { z } from 'zod';
import { CLAIM_AXES, CLAIM_TESTS, type ClaimAxis, type ClaimScale, type ClaimTest } from '../core/claim.js';
import { configError, parseJsonObject, valueAt } from '../core/json.js';
import { paperSeries, type PaperSpec, type PaperValue } from './paper.js';

/** Where a series' values come from. */
export type Quantity =
  /** Over the fastest dense kernel of the same cell */
  | { readonly kind: 'speedup'; readonly kernel: string }
  /** Over the time at the last x */
  | { readonly kind: 'relative-latency'; readonly kernel: string }
  /** Time of `top` over time of `bottom`: kernel ids, or scopes for the fastest dense kernel of one */
  | { readonly kind: 'ratio'; readonly top: string; readonly bottom: string }
  /** Per cent of a decode step that a module takes */
  | { readonly kind: 'share'; readonly kernel: string; readonly module: string };

/** A sweep in the words of a sweep configuration file, with exactly one model. */
export type ClaimSweep = Readonly<Record<string, unknown>> & { readonly models: readonly [string] };

/** What one scale measures. */
export interface ScaleSpec {
  readonly sweeps: readonly ClaimSweep[];
  /** Where the series has points; a point that is missing cannot be guessed */
  readonly x: readonly number[];
  /** Where test `number` reads its value */
  readonly at: number | null;
}

/** A claim that kernels can decide. */
export interface MeasuredClaim {
  readonly id: string;
  readonly figure: string;
  readonly statement: string;
  readonly test: ClaimTest;
  readonly quantity: Quantity;
  readonly axis: ClaimAxis;
  readonly paperSource: string;
  /** Ascending in x; empty where the paper says no number */
  readonly paper: readonly PaperValue[];
  readonly scales: Readonly<Record<ClaimScale, ScaleSpec>>;
}

/** A claim that this tool cannot decide by measuring kernels. */
export interface BlockedClaim {
  readonly id: string;
  readonly figure: string;
  readonly statement: string;
  readonly unmeasurable: string;
  readonly paperSource: string;
}

export type Claim = MeasuredClaim | BlockedClaim;

export const isBlocked = (claim: Claim): claim is BlockedClaim => 'unmeasurable' in claim;

const text = z.string().min(1);
const reference = z.union([text, z.number()]);
const references = z.union([reference, z.array(reference)]);
const paper = z.strictObject({
  source: text,
  x: z.union([text, z.array(z.number())]).optional(),
  value: references.optional(),
  ratio: z.tuple([references, references]).optional(),
}) satisfies z.ZodType<PaperSpec>;

const quantity = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('speedup'), kernel: text }),
  z.strictObject({ kind: z.literal('relative-latency'), kernel: text }),
  z.strictObject({ kind: z.literal('ratio'), top: text, bottom: text }),
  z.strictObject({ kind: z.literal('share'), kernel: text, module: text }),
]) satisfies z.ZodType<Quantity>;

const scale = z.strictObject({
  sweeps: z.array(z.looseObject({ models: z.tuple([text]) })).min(1),
  x: z.array(z.number().gt(0)).min(1),
  at: z.number().gt(0).optional(),
});

const common = { id: z.string().regex(/^[a-z0-9.-]+$/), figure: text, statement: text, paper };
const measured = z
  .strictObject({
    ...common,
    test: z.enum(CLAIM_TESTS),
    quantity,
    axis: z.enum(CLAIM_AXES),
    full: scale,
    small: scale,
  })
  .refine((c) => c.test !== 'number' || (c.full.at !== undefined && c.small.at !== undefined), {
    error: 'a place `at` in both scales for test number',
  });
const blocked = z.strictObject({ ...common, unmeasurable: text });
const fileSchema = z.strictObject({
  description: text,
  claims: z.array(z.union([measured, blocked])).min(1),
});

type ScaleJson = z.infer<typeof scale>;
const scaleOf = ({ sweeps, x, at }: ScaleJson): ScaleSpec => ({ sweeps, x, at: at ?? null });

/**
 * Reads the claims of the paper.
 * @param content of configs/paper/claims.json
 * @param figures of configs/paper/figures.json, which the claims' references point into
 * @param origin file name for messages
 * @throws ConfigError naming the file and the JSON pointer, also for a reference that leads nowhere
 */
export function parseClaims(content: string, figures: string, origin: string): Claim[] {
  const json = parseJsonObject(content, origin);
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path ?? [];
    throw configError(origin, path, issue?.message ?? 'a valid file', valueAt(json, path));
  }
  const data = parseJsonObject(figures, 'figures.json');
  const seen = new Set<string>();
  return parsed.data.claims.map((c, i): Claim => {
    if (seen.has(c.id)) throw configError(origin, ['claims', i, 'id'], 'an id of its own', c.id);
    seen.add(c.id);
    const { id, figure, statement } = c;
    const about = { id, figure, statement, paperSource: c.paper.source };
    if ('unmeasurable' in c) return { ...about, unmeasurable: c.unmeasurable };
    const { test, axis, full, small } = c;
    return {
      ...about,
      test,
      axis,
      quantity: c.quantity,
      paper: paperSeries(c.paper, data, (expected, got) =>
        configError(origin, ['claims', i, 'paper'], expected, got),
      ),
      scales: { full: scaleOf(full), small: scaleOf(small) },
    };
  });
}

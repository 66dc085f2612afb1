import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';
import {
  CLAIM_AXES,
  CLAIM_SCALES,
  CLAIM_TESTS,
  CLAIM_VERDICTS,
  type ClaimPoint,
  type ClaimResult,
} from '../core/claim.js';
import { TraceError } from '../core/errors.js';
import { rowsBehind } from '../report/claim-text.js';
import { BREAKDOWN_SCHEMA_VERSION, type BreakdownRow } from '../report/step.js';
import { csvText, type CsvValue } from './csv.js';
import { makeFolder, replaceFile } from './durable.js';
import { BREAKDOWN_FILE } from './folder.js';

/** What `reproduce` adds to a result folder. */
export const CLAIM_FILES = {
  request: 'reproduce.json',
  verdicts: 'claims.csv',
  /** One CSV and one SVG per claim */
  folder: 'claims',
} as const;

const SCHEMA_VERSION = 1;

type Field = readonly [header: string, of: (c: ClaimResult) => CsvValue];

const VERDICT_FIELDS: readonly Field[] = [
  ['claim', (c) => c.id],
  ['figure', (c) => c.figure],
  ['verdict', (c) => c.verdict],
  ['value', (c) => c.value],
  ['ci_low', (c) => c.interval?.low ?? null],
  ['ci_high', (c) => c.interval?.high ?? null],
  ['paper_value', (c) => c.paperValue],
  ['unit', (c) => c.unit],
  ['bound', (c) => c.bound],
  ['bound_under_paper', (c) => (c.boundUnderPaper ? 'yes' : c.bound === null ? '' : 'no')],
  ['slow_baseline_value', (c) => c.slowBaseline],
  ['rows', (c) => rowsBehind(c).join(' ')],
  ['scale', (c) => c.scale],
  ['setting', (c) => c.setting],
  ['test', (c) => c.test],
  ['quantity', (c) => c.quantity],
  ['axis', (c) => c.axis],
  ['value_title', (c) => c.valueTitle],
  ['reason', (c) => c.reason],
  ['statement', (c) => c.statement],
  ['paper_source', (c) => c.paperSource],
];

/** claims.csv: one row per claim. */
export function claimsCsv(claims: readonly ClaimResult[]): string {
  const header = ['schema_version', ...VERDICT_FIELDS.map(([name]) => name)];
  return csvText([header, ...claims.map((c) => [SCHEMA_VERSION, ...VERDICT_FIELDS.map(([, of]) => of(c))])]);
}

const POINT_HEADER = ['x', 'value', 'ci_low', 'ci_high', 'paper_value', 'bound', 'rows', 'reason'] as const;

/** claims/<id>.csv: ours beside the paper's; `rows` are lines of rows.csv, 1 = header. */
export function claimPointsCsv({ axis, points }: Pick<ClaimResult, 'axis' | 'points'>): string {
  const [, ...others] = POINT_HEADER;
  const lines = points.map((p) => [
    p.x,
    p.value,
    p.interval?.low ?? null,
    p.interval?.high ?? null,
    p.paper,
    p.bound,
    p.rows.join(' '),
    p.reason,
  ]);
  return csvText([[axis, ...others], ...lines]);
}

const number = z.union([z.literal('').transform(() => null), z.coerce.number<string>()]);
const textOrNull = z.string().transform((t) => (t === '' ? null : t));

const pointSchema = z
  .strictObject({
    x: z.coerce.number<string>(),
    value: number,
    ci_low: number,
    ci_high: number,
    paper_value: number,
    bound: number,
    rows: z.string(),
    reason: textOrNull,
  })
  .transform((p): ClaimPoint => ({
    x: p.x,
    value: p.value,
    interval: p.ci_low === null || p.ci_high === null ? null : { low: p.ci_low, high: p.ci_high },
    paper: p.paper_value,
    bound: p.bound,
    rows: p.rows === '' ? [] : p.rows.split(' ').map(Number),
    reason: p.reason,
  }));

const verdictSchema = z
  .strictObject({
    schema_version: z.literal(String(SCHEMA_VERSION)),
    claim: z.string().regex(/^[a-z0-9.-]+$/),
    figure: z.string(),
    verdict: z.enum(CLAIM_VERDICTS),
    value: number,
    ci_low: number,
    ci_high: number,
    paper_value: number,
    unit: z.string(),
    bound: number,
    bound_under_paper: z.enum(['yes', 'no', '']),
    slow_baseline_value: number,
    rows: z.string(),
    scale: z.enum(CLAIM_SCALES),
    setting: z.string(),
    test: z.union([z.literal('').transform(() => null), z.enum(CLAIM_TESTS)]),
    quantity: z.string(),
    axis: z.enum(CLAIM_AXES),
    value_title: z.string(),
    reason: textOrNull,
    statement: z.string(),
    paper_source: z.string(),
  })
  .transform((v): Omit<ClaimResult, 'points'> => ({
    id: v.claim,
    figure: v.figure,
    statement: v.statement,
    scale: v.scale,
    setting: v.setting,
    verdict: v.verdict,
    reason: v.reason,
    test: v.test,
    quantity: v.quantity,
    unit: v.unit,
    value: v.value,
    interval: v.ci_low === null || v.ci_high === null ? null : { low: v.ci_low, high: v.ci_high },
    paperValue: v.paper_value,
    paperSource: v.paper_source,
    bound: v.bound,
    boundUnderPaper: v.bound_under_paper === 'yes',
    slowBaseline: v.slow_baseline_value,
    axis: v.axis,
    valueTitle: v.value_title,
  }));

const count = z.union([z.literal('').transform(() => null), z.coerce.number<string>().int()]);

const breakdownSchema = z.strictObject({
  schema_version: z.literal(String(BREAKDOWN_SCHEMA_VERSION)).transform(Number),
  run_id: z.string(),
  model: z.string(),
  batch_size: z.coerce.number<string>(),
  kv_len: number,
  variant: z.string(),
  kernel: z.string(),
  module: z.string(),
  latency_us: z.coerce.number<string>(),
  share: z.coerce.number<string>().min(0).max(1),
  active_heads: count,
  active_neurons: count,
}) satisfies z.ZodType<BreakdownRow, unknown>;

function readCsv<T>(path: string, schema: z.ZodType<T, unknown>, columns: true | (() => string[])): T[] {
  try {
    const records = parse<Record<string, string>>(readFileSync(path, 'utf8'), {
      columns: columns === true ? true : columns,
      record_delimiter: '\r\n',
    });
    return records.map((record) => schema.parse(record));
  } catch (cause) {
    const why = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 300);
    throw new TraceError(`Expected a file written by polar-bench for ${path}, got something else: ${why}`, {
      hint: 'The file was changed or written by another version; run `reproduce` again into a new folder.',
      cause,
    });
  }
}

/** Writes claims.csv and the points of each claim. @throws SinkError */
export function writeClaims(folder: string, claims: readonly ClaimResult[]): void {
  makeFolder(join(folder, CLAIM_FILES.folder));
  replaceFile(join(folder, CLAIM_FILES.verdicts), claimsCsv(claims));
  for (const claim of claims) {
    if (claim.points.length === 0) continue;
    replaceFile(join(folder, CLAIM_FILES.folder, `${claim.id}.csv`), claimPointsCsv(claim));
  }
}

/**
 * The claims that `reproduce` wrote into a folder; empty where it wrote none.
 * @throws TraceError for a file that it did not write
 */
export function readClaims(folder: string): ClaimResult[] {
  const path = join(folder, CLAIM_FILES.verdicts);
  if (!existsSync(path)) return [];
  return readCsv(path, verdictSchema, true).map((verdict) => {
    const points = join(folder, CLAIM_FILES.folder, `${verdict.id}.csv`);
    return {
      ...verdict,
      points: existsSync(points) ? readCsv(points, pointSchema, () => [...POINT_HEADER]) : [],
    };
  });
}

/** breakdown.csv of a folder; empty where there is none. */
export function readBreakdown(folder: string): BreakdownRow[] {
  const path = join(folder, BREAKDOWN_FILE);
  return existsSync(path) ? readCsv(path, breakdownSchema, true) : [];
}

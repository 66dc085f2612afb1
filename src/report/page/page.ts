import type { ClaimResult } from '../../core/claim.js';
import type { Row } from '../../core/row.js';
import type { UnionRow } from '../../core/union.js';
import { formatLatency, NOT_AVAILABLE, threeDigits } from '../format.js';
import type { BreakdownRow } from '../step.js';
import { measuredPolarMaps, type PolarMap } from '../polar-map.js';
import { claimSections } from './claim-figures.js';
import {
  type Figure,
  type ReportDocument,
  section,
  type Section,
  type Table,
  type TableCell,
} from './document.js';
import { breakdownFigures, rooflineFigure } from './machine-figures.js';
import { mapSections } from './map-figures.js';
import { densityFigures, type NumberedRow, scalingFigures, slug } from './row-figures.js';

/** Union curves of one model: what was published, and the law fitted to it. */
export interface UnionInput {
  readonly model: string;
  readonly source: string;
  /** Rows of single layers, those that are drawn */
  readonly points: readonly UnionRow[];
  readonly law: readonly UnionRow[];
  /** Largest batch size that is not an extrapolation */
  readonly lastBatch: number;
}

/** Everything that a report is made from; pure text comes out. */
export interface ReportInput {
  /** Name of the folder, for the title */
  readonly name: string;
  readonly rows: readonly Row[];
  readonly claims: readonly ClaimResult[];
  readonly breakdown: readonly BreakdownRow[];
  readonly predicted: readonly PolarMap[];
  readonly unions: readonly UnionInput[];
  /** env.json; null: nothing was measured */
  readonly environment: Readonly<Record<string, unknown>> | null;
  /** The larger of the ceilings before and after */
  readonly ceilings: { readonly readGbPerS: number; readonly matrixTflopPerS: number } | null;
  /** Shell lines that give the same results again */
  readonly commands: readonly string[];
}

function unionFigure(union: UnionInput): Figure {
  const batches = [...new Set(union.law.map((r) => r.batch_size))].toSorted((a, b) => a - b);
  const layers = [...new Set(union.law.map((r) => r.layer))];
  const percent = (rows: readonly UnionRow[], layer: number | 'mean', batch: number): string => {
    const density = rows.find((r) => r.layer === layer && r.batch_size === batch)?.union_density_mean ?? null;
    return density === null ? NOT_AVAILABLE : (100 * density).toFixed(1);
  };
  const last = batches.at(-1) ?? 1;
  const said = layers.map(
    (l) =>
      `layer ${l}: ${percent(union.law, l, 1)} % at batch 1, ${percent(union.law, l, last)} % at ${last}`,
  );
  return {
    id: `union-${slug(union.model)}`,
    title: `${union.model}: union of active neurons against batch size`,
    alt: `Union of active neurons of ${union.model} by the law. ${said.join('; ')}.`,
    caption: `Points: ${union.source}. Lines: u(B) = 1 - Beta(a, b + B) / Beta(a, b), fitted per layer (ours); dashed beyond batch ${union.lastBatch}, where it extrapolates. Not measured by this run.`,
    plot: { kind: 'union', ...union },
    table: {
      caption: `Union of active neurons of ${union.model} (%), published / law`,
      head: ['B', ...layers.map((l) => `layer ${l}`)],
      rows: batches.map((b) => [
        String(b),
        ...layers.map((l) => `${percent(union.points, l, b)} / ${percent(union.law, l, b)}`),
      ]),
      numeric: [0],
    },
  };
}

/** env.json as names and values, nested names joined by dots. */
function flat(value: unknown, name = ''): [string, string][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, v]) => flat(v, name === '' ? key : `${name}.${key}`));
  }
  const text =
    Array.isArray(value) && value.every((v) => typeof v !== 'object')
      ? value.join(' ')
      : JSON.stringify(value);
  return [[name, typeof value === 'string' ? value : text]];
}

function environmentSection(environment: ReportInput['environment']): Section[] {
  if (environment === null) return [];
  const table: Table = {
    caption: 'env.json',
    head: ['what', 'value'],
    rows: flat(environment).map(([name, value]) => [name, value]),
    numeric: [],
  };
  return [section('environment', 'Environment', { tables: [table] })];
}

/** The line of samples.jsonl that each row's cell has: the rows of a cell stand together and were measured at one time. */
export function sampleLines(rows: readonly Row[]): number[] {
  let line = 0;
  let before = '';
  return rows.map((row) => {
    const cell = [row.timestamp, row.model, row.scope, row.batch_size, row.kv_len].join('|');
    if (cell !== before) line += 1;
    before = cell;
    return line;
  });
}

function rowsTable(rows: readonly NumberedRow[]): Table {
  const samples = sampleLines(rows.map(({ row }) => row));
  const counted = (value: number | null): string => (value === null ? NOT_AVAILABLE : String(value));
  return {
    caption: 'Rows of rows.csv; "samples" is the line of samples.jsonl with every sample behind the row',
    head: [
      'row',
      'model',
      'kernel',
      'B',
      'N',
      'heads',
      'neurons',
      'latency',
      'speedup',
      '% of bound',
      'status',
      'samples',
      'measured again by',
    ],
    rows: rows.map(({ row, line }, i): TableCell[] => [
      { text: String(line), id: `r${line}` },
      row.model,
      row.kernel,
      String(row.batch_size),
      counted(row.kv_len),
      counted(row.active_heads),
      counted(row.active_neurons),
      row.latency_us_median === null ? NOT_AVAILABLE : formatLatency(row.latency_us_median),
      row.speedup === null ? NOT_AVAILABLE : `${threeDigits(row.speedup)}x`,
      row.pct_of_bound === null ? NOT_AVAILABLE : row.pct_of_bound.toFixed(0),
      row.reason === null ? row.status : `${row.status}: ${row.reason}`,
      String(samples[i]),
      { text: row.repro_command, kind: 'code' },
    ]),
    numeric: [0, 3, 4, 5, 6, 7, 8, 9, 11],
  };
}

const CAVEATS: readonly string[] = [
  'Kernels are measured, not models: there are no weights of a real checkpoint in here, so nothing is said about accuracy.',
  'The baseline of every speedup is the fastest dense kernel that could be found. Where the paper gains over a slower baseline, the bound shows it.',
  '"30 % sparsity" in sec. 4.2 of the paper means 30 % density; polar-bench stores densities only.',
  'Dense attention takes 2.7 ms a layer in Fig. 1a and 3.27 ms in Fig. 4b: two different dense kernels.',
  'LLaMA-3.1-70B: the 1.51x of Fig. 7b lies above the bound at its batch sizes with a good dense baseline. The slow baseline, attention/dense-per-query-head, streams a group’s cache once per query head, as the paper’s does.',
  'The authors’ block benchmark times 2 runs after 1 warm-up, dense first, and has no cache control; here candidates are sampled interleaved, with a cold cache.',
  'The paper’s numbers were read off its figures, about ±2 %.',
  'A 95 % interval covers the noise within a run, not the difference between two days or two machines.',
  'Index sets are random: the hard case for hardware prefetching. Trained routers may choose more regular ones.',
];

function kernelsSection(rows: readonly NumberedRow[]): Section[] {
  const figures = scalingFigures(rows);
  if (figures.length === 0) return [];
  return [section('scaling', 'Speedup against batch and context', { figures })];
}

function summaryOf(input: ReportInput): string[] {
  const { rows } = input;
  const list = (values: readonly string[]): string => [...new Set(values)].join(', ');
  if (rows.length === 0) return ['Nothing was measured: there are no rows.'];
  const ok = rows.filter((r) => r.status === 'ok').length;
  return [
    `Device: ${list(rows.map((r) => r.device))} (${list(rows.map((r) => r.backend))}); ${list(rows.map((r) => r.dtype))}, ${list(rows.map((r) => r.cache_mode))} cache.`,
    `Models: ${list(rows.map((r) => r.model))}.`,
    `${ok} of ${rows.length} rows are ok; each was checked against a reference before it was timed.`,
  ];
}

/** The document that HTML and Markdown show. Deterministic: the same folder gives the same document. */
export function reportDocument(input: ReportInput): ReportDocument {
  const rows = input.rows.map((row, i): NumberedRow => ({ row, line: i + 2 }));
  const density = densityFigures(rows);
  const breakdown = breakdownFigures(input.breakdown);
  const roofline = rooflineFigure(rows, input.ceilings);
  const unions = input.unions.map(unionFigure);
  const optional = (id: string, title: string, figures: readonly Figure[]): Section[] =>
    figures.length === 0 ? [] : [section(id, title, { figures })];
  return {
    title: `polar-bench report: ${input.name}`,
    summary: summaryOf(input),
    sections: [
      ...claimSections(input.claims),
      ...mapSections(measuredPolarMaps(input.rows), input.predicted),
      ...optional('breakdown', 'Where the time of a step goes', breakdown),
      ...kernelsSection(rows),
      ...optional('density', 'Speedup against density', density),
      ...optional('union', 'Union of active neurons', unions),
      ...optional('roofline', 'Roofline', roofline),
      section('caveats', 'Caveats', { points: CAVEATS }),
      section('repeat', 'How to repeat', {
        paragraphs: [
          'Every row below carries the command that measures it again; the whole folder comes from:',
        ],
        commands: input.commands,
      }),
      ...environmentSection(input.environment),
      ...(rows.length === 0 ? [] : [section('rows', 'All rows', { tables: [rowsTable(rows)] })]),
    ],
  };
}

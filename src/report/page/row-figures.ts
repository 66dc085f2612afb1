import type { ClaimAxis } from '../../core/claim.js';
import type { Row } from '../../core/row.js';
import { formatLatency, NOT_AVAILABLE, threeDigits } from '../format.js';
import type { Figure, LinePoint, TableCell } from './document.js';

/** Figures that any result folder's rows give. */

export interface NumberedRow {
  readonly row: Row;
  /** In rows.csv, 1 = header */
  readonly line: number;
}

export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');

export function grouped<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const own = groups.get(key(item));
    if (own === undefined) groups.set(key(item), [item]);
    else own.push(item);
  }
  return [...groups.values()];
}

const isDense = ({ row }: NumberedRow): boolean => row.variant === 'dense';
const densityOf = (row: Row): number | null =>
  row.mlp_density === null ? row.head_density : row.head_density === null ? row.mlp_density : null;
const withInterval = (value: number | null, low: number | null, high: number | null): string => {
  if (value === null) return NOT_AVAILABLE;
  return low === null || high === null
    ? `${threeDigits(value)}x`
    : `${threeDigits(value)}x (${threeDigits(low)}-${threeDigits(high)})`;
};

function speedupPoint(row: Row, x: number): LinePoint[] {
  if (row.speedup === null) return [];
  return [{ x, y: row.speedup, low: row.speedup_ci_low, high: row.speedup_ci_high, series: row.kernel }];
}

const HEAD = ['kernel', 'B', 'N', 'density', 'latency', 'speedup (95 %)', '% of bound', 'row'];
const NUMERIC = [1, 2, 3, 4, 5, 6];

function tableRow({ row, line }: NumberedRow): TableCell[] {
  const density = [row.head_density, row.mlp_density]
    .filter((d) => d !== null)
    .map((d) => String(Number(d.toFixed(3))));
  return [
    row.kernel,
    String(row.batch_size),
    row.kv_len === null ? NOT_AVAILABLE : String(row.kv_len),
    density.length === 0 ? NOT_AVAILABLE : density.join('/'),
    row.latency_us_median === null ? row.status : formatLatency(row.latency_us_median),
    withInterval(row.speedup, row.speedup_ci_low, row.speedup_ci_high),
    row.pct_of_bound === null ? NOT_AVAILABLE : row.pct_of_bound.toFixed(0),
    { text: `row ${line}`, rows: [line] },
  ];
}

/** "attention/selective-head from 1.94x at 1 to 3.30x at 64" */
function trend(points: readonly LinePoint[], series: string): string {
  const own = points.filter((p) => p.series === series);
  const [first, last] = [own[0], own.at(-1)];
  if (first === undefined || last === undefined) return '';
  return `${series} from ${threeDigits(first.y)}x at ${threeDigits(first.x)} to ${threeDigits(last.y)}x at ${threeDigits(last.x)}`;
}

interface LinesInput {
  readonly id: string;
  readonly title: string;
  readonly axis: ClaimAxis;
  readonly what: string;
  readonly rows: readonly NumberedRow[];
  readonly points: readonly LinePoint[];
  readonly extraSeries?: readonly string[];
}

function linesFigure({ id, title, axis, what, rows, points, extraSeries = [] }: LinesInput): Figure {
  const measured = [...new Set(points.map((p) => p.series))].filter((s) => !extraSeries.includes(s));
  const trends = measured.map((s) => trend(points, s)).filter((t) => t !== '');
  return {
    id,
    title,
    alt: `${title}: ${trends.join('; ')}.`,
    caption: what,
    plot: {
      kind: 'lines',
      axis,
      valueTitle: 'speedup over the fastest dense (x)',
      series: [...measured, ...extraSeries],
      points,
    },
    table: { caption: `The numbers of: ${title}`, head: HEAD, rows: rows.map(tableRow), numeric: NUMERIC },
  };
}

/** Rows at the model's own density, where the model has one; so that a density sweep is not one line of many points. */
function ownDensity(rows: readonly NumberedRow[]): NumberedRow[] {
  return grouped(rows, ({ row }) => `${row.model} ${row.kernel} ${row.batch_size} ${row.kv_len}`).flatMap(
    (same) => {
      if (same.length === 1) return same;
      const own = same.filter(({ row }) => row.density_source !== 'flag');
      return own.length === 1 ? own : [];
    },
  );
}

/** Speedup against batch size for each model, scope and length, and against length for each batch size. */
export function scalingFigures(rows: readonly NumberedRow[]): Figure[] {
  const usable = ownDensity(rows).filter(({ row }) => row.speedup !== null);
  const along = (
    axis: 'batch' | 'kv_len',
    fixed: (row: Row) => string,
    x: (row: Row) => number | null,
  ): Figure[] =>
    grouped(usable, ({ row }) => `${row.model}|${row.scope}|${fixed(row)}`).flatMap((group) => {
      const first = group[0]?.row;
      const xs = new Set(group.map(({ row }) => x(row)));
      if (first === undefined || xs.has(null) || xs.size < 2) return [];
      const sorted = group.toSorted((a, b) => (x(a.row) ?? 0) - (x(b.row) ?? 0));
      const points = sorted.flatMap(({ row }) => speedupPoint(row, x(row) ?? 0));
      const at = fixed(first);
      const title = `${first.model}, ${first.scope}${at === '' ? '' : `, ${at}`}`;
      const name = axis === 'batch' ? 'batch size' : 'context length';
      return [
        linesFigure({
          id: `scaling-${slug(`${title} ${axis}`)}`,
          title: `${title}: speedup against ${name}`,
          axis,
          what: `Each point is a row; its speedup is against the fastest dense kernel of the same cell. Bars are 95 % intervals.`,
          rows: sorted,
          points,
        }),
      ];
    });
  return [
    ...along(
      'batch',
      (row) => (row.kv_len === null ? '' : `N=${row.kv_len}`),
      (row) => row.batch_size,
    ),
    ...along(
      'kv_len',
      (row) => `B=${row.batch_size}`,
      (row) => row.kv_len,
    ),
  ];
}

/** Speedup against density beside the ideal 1 / density, wherever a kernel was measured at three densities or more. */
export function densityFigures(rows: readonly NumberedRow[]): Figure[] {
  const places = grouped(rows, ({ row }) => `${row.model}|${row.scope}|${row.batch_size}|${row.kv_len}`);
  return places.flatMap((place) => {
    const sparse = place.filter((r) => !isDense(r) && r.row.speedup !== null && densityOf(r.row) !== null);
    const lines = grouped(sparse, ({ row }) => row.kernel).filter((line) => line.length >= 3);
    const first = lines[0]?.[0]?.row;
    if (first === undefined) return [];
    const used = lines.flat().toSorted((a, b) => (densityOf(a.row) ?? 0) - (densityOf(b.row) ?? 0));
    const points = used.flatMap(({ row }) => speedupPoint(row, densityOf(row) ?? 1));
    const ideal = [...new Set(points.map((p) => p.x))].map((x): LinePoint => ({
      x,
      y: 1 / x,
      low: null,
      high: null,
      series: 'ideal',
    }));
    const at = `B=${first.batch_size}${first.kv_len === null ? '' : `, N=${first.kv_len}`}`;
    const title = `${first.model}, ${first.scope}, ${at}: speedup against density`;
    return [
      linesFigure({
        id: `density-${slug(title)}`,
        title,
        axis: 'density',
        what: 'The ideal line is 1 / density: time in proportion to what is computed, against the fastest dense kernel.',
        rows: [...place.filter(isDense), ...used],
        points: [...points, ...ideal],
        extraSeries: ['ideal'],
      }),
    ];
  });
}

import type { TopLevelSpec } from 'vega-lite';
import type { ClaimAxis } from '../core/claim.js';
import type { LinePoint } from '../report/page/document.js';
import { INK, PLOT_CONFIG, SCHEMA, Y_TITLE } from './plot-style.js';

const AXIS_TITLES: Readonly<Record<ClaimAxis, string>> = {
  batch: 'batch size B',
  kv_len: 'positions in the KV cache N',
  density: 'density (share of heads or neurons)',
};

/** How a line of the legend looks; a line that nothing was measured for has no points on it. */
export interface SeriesStyle {
  readonly name: string;
  readonly colour: string;
  readonly dash: readonly number[];
  readonly marked: boolean;
}

export const SOLID: readonly number[] = [1, 0];
export const DASHED: readonly number[] = [6, 4];
export const DOTTED: readonly number[] = [2, 3];

export interface LinesInput {
  readonly axis: ClaimAxis;
  readonly valueTitle: string;
  /** In the order of the legend */
  readonly series: readonly SeriesStyle[];
  readonly points: readonly LinePoint[];
  /** The values are ratios: 1 is drawn, and a wide range in logarithms */
  readonly ratio: boolean;
  /** Marks name themselves to screen readers; not needed where the whole figure has a text alternative */
  readonly aria: boolean;
}

/** Densities are a linear axis to 1; batch sizes and lengths double. */
function xAxis(axis: ClaimAxis, xs: readonly number[]): object {
  const common = { field: 'x', type: 'quantitative', title: AXIS_TITLES[axis] };
  if (axis === 'density') return { ...common, scale: { domain: [0, 1] }, axis: { format: '.1f' } };
  const values = [...new Set(xs)].toSorted((a, b) => a - b);
  return { ...common, scale: { type: 'log', base: 2 }, axis: { values, format: 'd', labelOverlap: true } };
}

/** Ratios beyond this are drawn in logarithms: a linear axis hides what happens near 1 when something is tenfold. */
const WIDE_RATIO = 8;

function yAxis({ valueTitle, points, ratio }: LinesInput): object {
  const ends = points.flatMap((p) => [p.low ?? p.y, p.high ?? p.y]);
  const common = { field: 'y', type: 'quantitative', title: valueTitle };
  if (!ratio || Math.max(...ends) <= WIDE_RATIO) return { ...common, scale: { zero: true }, axis: Y_TITLE };
  const domain = [Math.min(1, ...ends) / 1.1, Math.max(...ends) * 1.1];
  const scale = { type: 'log', base: 2, nice: false, domain };
  return { ...common, scale, axis: { ...Y_TITLE, format: '~g' } };
}

/** Lines with 95 % intervals and points, for a title to be added. */
export function linesSpec(input: LinesInput): TopLevelSpec {
  const { series, points } = input;
  const x = xAxis(
    input.axis,
    points.map((p) => p.x),
  );
  const y = yAxis(input);
  const legend = {
    title: null,
    orient: 'bottom',
    labelLimit: 400,
    columns: 2,
    symbolType: 'stroke',
    symbolSize: 400,
  };
  const channel = (range: readonly unknown[]): object => ({
    field: 'series',
    type: 'nominal',
    scale: { domain: series.map((s) => s.name), range },
    legend,
  });
  const color = channel(series.map((s) => s.colour));
  const marked = series.filter((s) => s.marked).map((s) => s.name);
  const layer = [
    {
      data: { values: input.ratio ? [{ y: 1 }] : [] },
      mark: { type: 'rule', color: INK, strokeWidth: 0.8 },
      encoding: { y },
    },
    {
      mark: { type: 'line', strokeWidth: 1.8 },
      encoding: { x, y, color, strokeDash: channel(series.map((s) => s.dash)) },
    },
    {
      transform: [{ filter: 'datum.low !== null' }],
      mark: { type: 'rule', strokeWidth: 1.5 },
      encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
    },
    {
      transform: [{ filter: { field: 'series', oneOf: marked } }],
      mark: { type: 'point', filled: true, size: 45, opacity: 1 },
      encoding: { x, y, color },
    },
  ];
  // vega-lite's own types demand literal types all the way down; its compiler checks the specification.
  return {
    $schema: SCHEMA,
    config: { ...PLOT_CONFIG, aria: input.aria },
    width: 560,
    height: 280,
    data: { values: points },
    layer,
  } as unknown as TopLevelSpec;
}

import type { TopLevelSpec } from 'vega-lite';
import type { Plot } from '../report/page/document.js';
import {
  BLUE,
  FAINT,
  GREEN,
  INK,
  ORANGE,
  PLOT_CONFIG,
  PURPLE,
  renderSvg,
  SCHEMA,
  Y_TITLE,
} from './plot-style.js';
import { xAxis } from './plots-claim.js';

type Layers = Extract<TopLevelSpec, { layer: unknown }>['layer'];
type PlotOf<K extends Plot['kind']> = Extract<Plot, { kind: K }>;

/** One colour per idea, the same in every figure. */
function colourOf(series: string): string {
  if (series === 'ideal') return INK;
  if (series.endsWith('/gather-dense')) return ORANGE;
  if (series.endsWith('/dense-per-query-head') || series.endsWith('/mlp-sparse')) return PURPLE;
  if (series.endsWith('/polar')) return GREEN;
  if (series.endsWith('/dense') || series.endsWith('/cublaslt') || series === 'dense') return FAINT;
  return BLUE;
}

const DASHES: Readonly<Record<string, readonly number[]>> = { ideal: [2, 3] };
const dashOf = (series: string): readonly number[] =>
  DASHES[series] ?? (series.endsWith('/cublaslt') ? [6, 3] : [1, 0]);

/** The same frame around every picture of a page: the caption says what a title would. */
function frame(width: number, height: number, layer: Layers): TopLevelSpec {
  return { $schema: SCHEMA, config: { ...PLOT_CONFIG, aria: false }, width, height, layer };
}

/** Lines with intervals and points; `ideal` is dotted and has no points. */
export async function linesSvg({ axis, valueTitle, series, points }: PlotOf<'lines'>): Promise<string> {
  const x = xAxis(
    axis,
    points.map((p) => p.x),
  );
  const ends = points.flatMap((p) => [p.low ?? p.y, p.high ?? p.y]);
  // A linear axis hides what happens near 1 when a tiny density is eleven times faster.
  const wide = Math.max(...ends) > 8;
  const domain = [Math.min(1, ...ends) / 1.1, Math.max(...ends) * 1.1];
  const scale = wide ? { type: 'log', base: 2, nice: false, domain } : { zero: true };
  const ticks = wide ? { format: '~g' } : {};
  const y = { field: 'y', type: 'quantitative', title: valueTitle, scale, axis: { ...Y_TITLE, ...ticks } };
  const legend = {
    title: null,
    orient: 'bottom',
    labelLimit: 400,
    columns: 2,
    symbolType: 'stroke',
    symbolSize: 400,
  };
  const color = {
    field: 'series',
    type: 'nominal',
    scale: { domain: series, range: series.map(colourOf) },
    legend,
  };
  const strokeDash = {
    field: 'series',
    type: 'nominal',
    scale: { domain: series, range: series.map(dashOf) },
    legend,
  };
  const layer = [
    { data: { values: [{ y: 1 }] }, mark: { type: 'rule', color: INK, strokeWidth: 0.8 }, encoding: { y } },
    { mark: { type: 'line', strokeWidth: 1.8 }, encoding: { x, y, color, strokeDash } },
    {
      transform: [{ filter: 'datum.low !== null' }],
      mark: { type: 'rule', strokeWidth: 1.5 },
      encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
    },
    {
      transform: [{ filter: "datum.series !== 'ideal'" }],
      mark: { type: 'point', filled: true, size: 45, opacity: 1 },
      encoding: { x, y, color },
    },
  ] as unknown as Layers;
  return renderSvg({ ...frame(560, 280, layer), data: { values: points } } as TopLevelSpec);
}

const MODULE_COLOURS = [BLUE, FAINT, PURPLE, ORANGE, GREEN, INK];

/** Stacked shares, a bar per batch size. */
export async function barsSvg({ parts }: PlotOf<'bars'>): Promise<string> {
  const modules = [...new Set(parts.map((p) => p.module))];
  const legend = { title: null, orient: 'bottom', columns: 3 };
  const layer = [
    {
      data: { values: parts },
      mark: { type: 'bar' },
      encoding: {
        x: { field: 'x', type: 'ordinal', title: 'batch size B', axis: { labelAngle: 0 } },
        y: {
          field: 'percent',
          type: 'quantitative',
          title: 'share of the step (%)',
          scale: { domain: [0, 100] },
          axis: Y_TITLE,
        },
        color: {
          field: 'module',
          type: 'nominal',
          scale: { domain: modules, range: modules.map((_, i) => MODULE_COLOURS[i % MODULE_COLOURS.length]) },
          legend,
        },
        order: { field: 'module' },
      },
    },
  ] as unknown as Layers;
  return renderSvg(frame(560, 260, layer));
}

const VARIANT_COLOURS = { dense: FAINT, 'mlp-sparse': BLUE, 'head-sparse': ORANGE, polar: GREEN } as const;

/** Achieved rate against operations per byte, under the roof. */
export async function rooflineSvg(plot: PlotOf<'roofline'>): Promise<string> {
  const { points, readGbPerS, matrixTflopPerS } = plot;
  const ridge = (1000 * matrixTflopPerS) / readGbPerS;
  const left = Math.min(...points.map((p) => p.intensity), ridge) / 1.5;
  const right = Math.max(...points.map((p) => p.intensity), ridge) * 1.5;
  const roof = [left, ridge, right].map((intensity) => ({
    intensity,
    tflopPerS: Math.min(matrixTflopPerS, (intensity * readGbPerS) / 1000),
  }));
  const x = {
    field: 'intensity',
    type: 'quantitative',
    title: 'operations per byte',
    scale: { type: 'log', domain: [left, right], nice: false },
    axis: { format: '~g', tickCount: 6 },
  };
  const y = {
    field: 'tflopPerS',
    type: 'quantitative',
    title: 'achieved TFLOP/s',
    scale: { type: 'log', nice: false },
    axis: { ...Y_TITLE, format: '~g', tickCount: 6 },
  };
  const variants = Object.keys(VARIANT_COLOURS).filter((v) => points.some((p) => p.variant === v));
  const range = variants.map((v) => VARIANT_COLOURS[v as keyof typeof VARIANT_COLOURS]);
  const legend = { title: null, orient: 'bottom' };
  const layer = [
    { data: { values: roof }, mark: { type: 'line', color: INK, strokeWidth: 1.8 }, encoding: { x, y } },
    {
      data: { values: points },
      mark: { type: 'point', filled: true, size: 40, opacity: 0.75 },
      encoding: {
        x,
        y,
        color: { field: 'variant', type: 'nominal', scale: { domain: variants, range }, legend },
      },
    },
  ] as unknown as Layers;
  return renderSvg(frame(560, 300, layer));
}

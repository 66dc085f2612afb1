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
import { DASHED, DOTTED, linesSpec, type SeriesStyle, SOLID } from './plot-lines.js';

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

function styleOf(name: string): SeriesStyle {
  const dash = name === 'ideal' ? DOTTED : name.endsWith('/cublaslt') ? DASHED : SOLID;
  return { name, colour: colourOf(name), dash, marked: name !== 'ideal' };
}

/** The same frame around every picture of a page: the caption says what a title would. */
function frame(width: number, height: number, layer: Layers): TopLevelSpec {
  return { $schema: SCHEMA, config: { ...PLOT_CONFIG, aria: false }, width, height, layer };
}

/** Lines with intervals and points; `ideal` is dotted and has no points. */
export function linesSvg({ series, ...plot }: PlotOf<'lines'>): Promise<string> {
  return renderSvg(linesSpec({ ...plot, series: series.map(styleOf), ratio: true, aria: false }));
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

import type { UnionRow } from '../core/union.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { PLOT_CONFIG, renderSvg, SCHEMA } from './plot-style.js';

/** One point of a plot; density in percent, because that is what the axis says. */
interface PlotPoint {
  readonly layer: number | 'mean';
  readonly batch: number;
  readonly percent: number;
  readonly kind: 'measured' | 'law';
}

function plotPoints(rows: readonly UnionRow[], kind: PlotPoint['kind']): PlotPoint[] {
  return rows.flatMap((r) =>
    r.union_density_mean === null
      ? []
      : [{ layer: r.layer, batch: r.batch_size, percent: 100 * r.union_density_mean, kind }],
  );
}

/** A long source in lines at its semicolons: without a canvas text is measured too wide and would widen the plot. */
function subtitleLines(text: string): string[] {
  return sanitizeForTerminal(text)
    .split('; ')
    .map((line) => (line.length > 90 ? `${line.slice(0, 87)}...` : line));
}

/**
 * Union against layer, one line per batch size (the paper's Fig. 2).
 *
 * @param title model; untrusted text
 * @param subtitle where the numbers come from
 * @param rows rows of single layers; rows without a density are gaps
 * @returns SVG
 */
export async function unionByLayerSvg(
  title: string,
  subtitle: string,
  rows: readonly UnionRow[],
): Promise<string> {
  const values = plotPoints(rows, 'measured').filter((p) => p.layer !== 'mean');
  const batches = [...new Set(values.map((p) => p.batch))].toSorted((a, b) => a - b);
  return renderSvg({
    $schema: SCHEMA,
    config: PLOT_CONFIG,
    title: {
      text: `Union of active neurons: ${sanitizeForTerminal(title)}`,
      subtitle: subtitleLines(subtitle),
    },
    width: 620,
    height: 320,
    data: { values },
    mark: { type: 'line', point: { size: 14 }, strokeWidth: 1.5 },
    encoding: {
      x: { field: 'layer', type: 'quantitative', title: 'layer', axis: { tickMinStep: 1, format: 'd' } },
      y: {
        field: 'percent',
        type: 'quantitative',
        title: 'union of active neurons (%)',
        scale: { domain: [0, 100] },
      },
      color: {
        field: 'batch',
        type: 'ordinal',
        title: 'batch size',
        // The largest batch is the highest line: the legend reads in the order of the lines.
        sort: batches.toReversed(),
        scale: { scheme: 'viridis', reverse: true },
      },
    },
  });
}

/**
 * Union against batch on a logarithmic axis: points as measured or published, the law as a line that goes on past them.
 *
 * @param points rows to show as points, layers or means
 * @param law rows of the law, of the same layers; drawn dashed beyond `lastBatch`
 * @param lastBatch largest batch size that is not an extrapolation
 * @param titled false inside of a page that has the same words as a caption
 * @returns SVG
 */
export async function unionByBatchSvg(
  name: string,
  subtitle: string,
  points: readonly UnionRow[],
  law: readonly UnionRow[],
  lastBatch: number,
  titled = true,
): Promise<string> {
  const lines = plotPoints(law, 'law');
  const inside = lines.filter((p) => p.batch <= lastBatch).map((p) => ({ ...p, part: 'law' }));
  // The dashed part begins where the other ends, without a gap.
  const outside = lines.filter((p) => p.batch >= lastBatch).map((p) => ({ ...p, part: 'extrapolated' }));
  const layers = [...new Set([...lines, ...plotPoints(points, 'measured')].map((p) => String(p.layer)))];
  const percentDomain: [number, number] = [0, 100];
  const x = {
    field: 'batch',
    type: 'quantitative',
    title: 'batch size',
    scale: { type: 'log', base: 2 },
  } as const;
  const y = {
    field: 'percent',
    type: 'quantitative',
    title: 'union of active neurons (%)',
    scale: { domain: percentDomain },
  } as const;
  const color = {
    field: 'layer',
    type: 'nominal',
    title: 'layer',
    sort: layers,
    scale: { scheme: 'tableau10' },
  } as const;
  const title = {
    text: `Union of active neurons: ${sanitizeForTerminal(name)}`,
    subtitle: subtitleLines(subtitle),
  };
  return renderSvg({
    $schema: SCHEMA,
    config: { ...PLOT_CONFIG, aria: titled },
    ...(titled ? { title } : {}),
    width: 620,
    height: 320,
    layer: [
      {
        data: { values: [...inside, ...outside] },
        mark: { type: 'line', strokeWidth: 1.5, interpolate: 'monotone' },
        encoding: {
          x,
          y,
          color,
          strokeDash: {
            field: 'part',
            type: 'nominal',
            title: 'line',
            scale: {
              domain: ['law', 'extrapolated'],
              range: [
                [1, 0],
                [5, 4],
              ],
            },
          },
        },
      },
      {
        data: { values: plotPoints(points, 'measured') },
        mark: { type: 'point', filled: true, size: 45, opacity: 1 },
        encoding: { x, y, color },
      },
    ],
  });
}

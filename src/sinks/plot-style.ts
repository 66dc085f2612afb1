import type { TopLevelSpec } from 'vega-lite';

/**
 * Colours as CSS variables with a fallback: inside of a page they follow its light or dark scheme, on their own they are
 * the fallback. The palette is told apart by people with colour-vision deficiencies and on both backgrounds.
 */
export const INK = 'var(--plot-ink, #333333)';
export const FAINT = 'var(--plot-faint, #8a8a8a)';
export const GRID = 'var(--plot-grid, #e5e5e5)';
export const PAPER = 'var(--plot-paper, #ffffff)';
export const BLUE = 'var(--plot-blue, #2f6fb3)';
export const ORANGE = 'var(--plot-orange, #c8641b)';
export const GREEN = 'var(--plot-green, #2b8a5f)';
export const PURPLE = 'var(--plot-purple, #8a5aa8)';

export const SCHEMA = 'https://vega.github.io/schema/vega-lite/v6.json';

/** Quiet axes, readable on white and, through the variables, on black. */
export const PLOT_CONFIG = {
  background: PAPER,
  font: 'sans-serif',
  view: { stroke: null },
  axis: {
    gridColor: GRID,
    domainColor: FAINT,
    tickColor: FAINT,
    labelColor: INK,
    titleColor: INK,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
  },
  legend: {
    labelFontSize: 12,
    titleFontSize: 12,
    labelColor: INK,
    titleColor: INK,
    titleFontWeight: 'normal',
  },
  title: { fontSize: 14, anchor: 'start', color: INK, subtitleColor: FAINT, subtitleFontSize: 12 },
} as const;

/**
 * An axis title that reads from left to right above the axis: a rotated one is longer than the plot is high.
 */
export const Y_TITLE = {
  titleAngle: 0,
  titleAlign: 'left',
  titleAnchor: 'end',
  titleBaseline: 'bottom',
  titleX: -34,
  titleY: -10,
} as const;

/** A long text in lines at its spaces: without a canvas text is measured too wide and would widen the plot. */
export function linesOf(text: string, length = 84): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= length) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Renders a specification without a DOM. vega takes a third of a second to load: only who plots pays for it. */
export async function renderSvg(spec: TopLevelSpec): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
  const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** The same picture with plain colours: viewers outside of browsers know no CSS variables. */
export function standalone(svg: string): string {
  return svg.replace(/var\(--plot-[a-z]+, (#[0-9a-f]{6})\)/g, '$1');
}

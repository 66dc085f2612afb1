import type { TopLevelSpec } from 'vega-lite';
import { basisText, hasLevers, MAP_LEGEND, MARKS } from '../report/page/map-figures.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import type { PolarMap } from '../report/polar-map.js';
import { FAINT, linesOf, PLOT_CONFIG, renderSvg, SCHEMA, Y_TITLE } from './plot-style.js';

type Layers = Extract<TopLevelSpec, { layer: unknown }>['layer'];

const CELL = { width: 58, height: 38 } as const;
/** Beyond this advantage of one lever over the other the colour does not change. */
const SATURATED = 2;

/** Where the crossover falls between the columns of batch sizes, in cells from the left edge. */
function crossoverPlace(batches: readonly number[], batch: number): number | null {
  const right = batches.findIndex((b) => b >= batch);
  const [low, high] = [batches[right - 1], batches[right]];
  if (low === undefined || high === undefined) return null;
  return right - 0.5 + Math.log(batch / low) / Math.log(high / low);
}

/** The crossover as a staircase: a stroke per length, joined where the next length has one too. */
function crossoverLayer(map: PolarMap, batches: readonly number[], lengths: readonly number[]): object[] {
  const places = lengths.map((kvLen) => {
    const batch = map.crossover.find((c) => c.kvLen === kvLen)?.batchSize ?? null;
    return batch === null ? null : crossoverPlace(batches, batch);
  });
  const strokes = places.flatMap((place, row) => {
    if (place === null) return [];
    const [x, top, bottom] = [place * CELL.width, row * CELL.height, (row + 1) * CELL.height];
    const next = places[row + 1] ?? null;
    const down = { x1: x, y1: top, x2: x, y2: bottom };
    return next === null ? [down] : [down, { x1: x, y1: bottom, x2: next * CELL.width, y2: bottom }];
  });
  if (strokes.length === 0) return [];
  const pixels = { type: 'quantitative', scale: null } as const;
  return [
    {
      data: { values: strokes },
      mark: { type: 'rule', stroke: '#1a1a1a', strokeWidth: 3, strokeCap: 'square' },
      encoding: {
        x: { field: 'x1', ...pixels },
        x2: { field: 'x2' },
        y: { field: 'y1', ...pixels },
        y2: { field: 'y2' },
      },
    },
  ];
}

/** log2 of the advantage, in -1..1: blue where the MLP is the stronger lever, orange where the heads are. */
function leverColour(lever: number | null): number {
  const scaled = lever === null ? 0 : Math.log2(lever) / Math.log2(SATURATED);
  return Math.max(-1, Math.min(1, scaled));
}

// Light colours on both schemes, so that the dark text of a cell is readable on all of them.
const [MLP_COLOUR, NEUTRAL, HEADS_COLOUR] = ['#8fbbe8', '#efefef', '#f5b27a'];
const LEGEND = { orient: 'bottom', titleLimit: 400, gradientLength: 220 } as const;

const LEVER_COLOUR = {
  field: 'colour',
  type: 'quantitative',
  title: 'sparsity that saves more',
  scale: { domain: [-1, 0, 1], range: [MLP_COLOUR, NEUTRAL, HEADS_COLOUR] },
  legend: {
    ...LEGEND,
    values: [-1, 0, 1],
    labelExpr: "datum.value < 0 ? 'MLP' : datum.value > 0 ? 'heads' : 'alike'",
  },
} as const;

const speedupColour = (speedups: readonly number[]): object => ({
  field: 'colour',
  type: 'quantitative',
  title: 'speedup over dense',
  scale: { domain: [1, Math.max(1.01, ...speedups)], range: [NEUTRAL, HEADS_COLOUR] },
  legend: { ...LEGEND, tickCount: 4 },
});

function layers(map: PolarMap, batches: readonly number[], lengths: readonly number[]): Layers {
  const levers = hasLevers(map);
  const values = map.cells.map((c) => ({
    batch: c.batchSize,
    length: c.kvLen,
    colour: levers ? leverColour(c.lever) : c.speedup,
    text: `${MARKS[c.winner]} ${c.speedup.toFixed(2)}x`,
  }));
  const x = {
    field: 'batch',
    type: 'ordinal',
    title: 'batch size B',
    sort: batches,
    axis: { labelAngle: 0, grid: false, domain: false, ticks: false },
  } as const;
  const y = {
    field: 'length',
    type: 'ordinal',
    title: 'positions in the KV cache N',
    sort: lengths,
    axis: { ...Y_TITLE, grid: false, domain: false, ticks: false },
  } as const;
  const color = levers ? LEVER_COLOUR : speedupColour(values.map((v) => v.colour));
  return [
    {
      data: { values },
      mark: { type: 'rect', stroke: FAINT, strokeWidth: 0.5 },
      encoding: { x, y, color },
    },
    ...crossoverLayer(map, batches, lengths),
    {
      data: { values },
      mark: { type: 'text', fontSize: 12, fill: '#1a1a1a' },
      encoding: { x, y, text: { field: 'text' } },
    },
  ] as unknown as Layers;
}

/**
 * The polar map: a cell per batch size and length with the winner and its speedup over dense; colour says which of the
 * two sparsities saves more; the thick line is where they save the same.
 *
 * @param titled false inside of a page that has the same words as a caption
 * @returns SVG with CSS variables as colours
 */
export async function polarMapSvg(map: PolarMap, titled = true): Promise<string> {
  const ascending = (values: readonly number[]): number[] => [...new Set(values)].toSorted((a, b) => a - b);
  const batches = ascending(map.cells.map((c) => c.batchSize));
  // Longer contexts stand higher, as on any axis.
  const lengths = ascending(map.cells.map((c) => c.kvLen)).toReversed();
  const subtitle = `${sanitizeForTerminal(basisText(map))}. Winner and its speedup over dense: ${MAP_LEGEND}.${hasLevers(map) ? ' Thick line: both sparsities save the same.' : ''}`;
  const title = {
    text: sanitizeForTerminal(`Polar map of ${map.model}${map.basis === 'predicted' ? ' (predicted)' : ''}`),
    subtitle: linesOf(subtitle),
    offset: 26,
  };
  return renderSvg({
    $schema: SCHEMA,
    config: { ...PLOT_CONFIG, aria: titled },
    ...(titled ? { title } : {}),
    width: CELL.width * batches.length,
    height: CELL.height * lengths.length,
    layer: layers(map, batches, lengths),
  });
}

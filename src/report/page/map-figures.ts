import { NOT_AVAILABLE, threeDigits } from '../format.js';
import type { PolarCell, PolarMap } from '../polar-map.js';
import { type Figure, section, type Section, type TableCell } from './document.js';
import { slug } from './row-figures.js';

const ascending = (values: readonly number[]): number[] => [...new Set(values)].toSorted((a, b) => a - b);

/** Names of variants in cells, which are too narrow for the whole. */
export const MARKS = { dense: 'D', 'mlp-sparse': 'M', 'head-sparse': 'H', polar: 'P' } as const;
export const MAP_LEGEND = 'P polar, H head-sparse, M mlp-sparse, D dense';

/** Without a sparse MLP there is one lever only, and nothing to compare. */
export const hasLevers = (map: PolarMap): boolean => map.cells.some((c) => c.lever !== null);

/** What a map is made of, in words that never let a prediction pass for a measurement. */
export function basisText({ basis, device }: PolarMap): string {
  switch (basis) {
    case 'step':
      return `measured decode steps on ${device}`;
    case 'kernels':
      return `measured attention and MLP kernels of one layer on ${device}, without projections and routers`;
    case 'predicted':
      return `PREDICTED from the roofline of ${device}, nothing measured`;
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function crossoverText({ crossover }: PolarMap): string {
  const said = crossover.flatMap(({ kvLen, batchSize }) =>
    batchSize === null ? [] : [`batch ${threeDigits(batchSize)} at N=${kvLen}`],
  );
  return said.length === 0
    ? 'The two sparsities do not cross in this range.'
    : `Head sparsity saves more than MLP sparsity from ${said.join(', ')} on.`;
}

function mapFigure(map: PolarMap): Figure {
  const batches = ascending(map.cells.map((c) => c.batchSize));
  const lengths = ascending(map.cells.map((c) => c.kvLen));
  const at = (kvLen: number, batch: number): PolarCell | undefined =>
    map.cells.find((c) => c.kvLen === kvLen && c.batchSize === batch);
  const cellText = (cell: PolarCell | undefined): TableCell => {
    if (cell === undefined) return NOT_AVAILABLE;
    const text = `${MARKS[cell.winner]} ${cell.speedup.toFixed(2)}x`;
    return cell.rows.length === 0 ? text : { text, rows: cell.rows };
  };
  const colours = hasLevers(map)
    ? `Blue: MLP sparsity alone saves more than head sparsity alone; orange: the other way round; thick line: the same. ${crossoverText(map)}`
    : 'Colour: the speedup. The MLP has no sparse variant here.';
  const largest = map.cells.reduce((a, b) => (b.speedup > a.speedup ? b : a));
  const predicted = map.basis === 'predicted';
  const crossing = new Map(map.crossover.map((c) => [c.kvLen, c.batchSize]));
  const number = (value: number | null | undefined): string =>
    value === null || value === undefined ? NOT_AVAILABLE : threeDigits(value);
  return {
    id: `map-${slug(`${map.model}-${predicted ? `predicted-${map.device}` : 'measured'}`)}`,
    title: `${map.model}: ${predicted ? `predicted for ${map.device}` : 'measured'}`,
    alt: `Polar map of ${map.model}, ${basisText(map)}. ${hasLevers(map) ? `${crossoverText(map)} ` : ''}Largest speedup: ${largest.winner} ${largest.speedup.toFixed(2)}x at batch ${largest.batchSize}, N=${largest.kvLen}.`,
    caption: `${capital(basisText(map))}. In each cell the fastest variant and its speedup over dense: ${MAP_LEGEND}. ${colours}`,
    plot: { kind: 'map', map },
    table: {
      caption: `Winner and speedup over dense: ${MAP_LEGEND}; ${basisText(map)}`,
      head: ['N \\ B', ...batches.map(String), 'crossover B'],
      rows: lengths.map((kvLen) => [
        String(kvLen),
        ...batches.map((b) => cellText(at(kvLen, b))),
        number(crossing.get(kvLen)),
      ]),
      numeric: Array.from({ length: batches.length + 2 }, (_, i) => i),
    },
  };
}

/** Measured and predicted maps in sections of their own: one is never read for the other. */
export function mapSections(measured: readonly PolarMap[], predicted: readonly PolarMap[]): Section[] {
  const sections: Section[] = [];
  if (measured.length > 0) {
    sections.push(
      section('polar-map', 'Polar map', {
        paragraphs: [
          'Which variant wins at which batch size and context length, and which lever carries it.',
        ],
        figures: measured.map(mapFigure),
      }),
    );
  }
  if (predicted.length > 0) {
    sections.push(
      section('polar-map-predicted', 'Polar map, predicted for other devices', {
        paragraphs: [
          'Nothing in this section was measured: every part of a decode step (projections, attention, MLP, routers) is taken at the roofline of a datasheet, dense and sparse alike. Read ratios, not times.',
        ],
        figures: predicted.map(mapFigure),
      }),
    );
  }
  return sections;
}

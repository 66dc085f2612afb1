import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite';
import type { ClaimAxis, ClaimResult } from '../core/claim.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { claimNumber, claimOurs } from '../report/claim-text.js';
import { CLAIM_FILES } from './claim-files.js';
import { replaceFile } from './durable.js';
import {
  BLUE,
  FAINT,
  INK,
  linesOf,
  ORANGE,
  PLOT_CONFIG,
  renderSvg,
  SCHEMA,
  standalone,
  Y_TITLE,
} from './plot-style.js';

type Layers = Extract<TopLevelSpec, { layer: unknown }>['layer'];

export const AXIS_TITLES: Readonly<Record<ClaimAxis, string>> = {
  batch: 'batch size B',
  kv_len: 'positions in the KV cache N',
  density: 'density (share of heads or neurons)',
};

const OURS = 'this machine';
const THEIRS = 'paper';
const BOUND = 'bound';

interface PlotRow {
  readonly x: number;
  readonly y: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly series: string;
}

function plotRows(claim: ClaimResult): PlotRow[] {
  return claim.points.flatMap(({ x, value, interval, paper, bound }) => {
    const row = (series: string, y: number | null, low: number | null = null, high: number | null = null) =>
      y === null ? [] : [{ x, y, low, high, series }];
    return [
      ...row(OURS, value, interval?.low ?? null, interval?.high ?? null),
      ...row(THEIRS, paper),
      ...row(BOUND, bound),
    ];
  });
}

/** Densities are a linear axis to 1; batch sizes and lengths double. */
export function xAxis(axis: ClaimAxis, xs: readonly number[]): object {
  const common = { field: 'x', type: 'quantitative', title: AXIS_TITLES[axis] } as const;
  if (axis === 'density') return { ...common, scale: { domain: [0, 1] }, axis: { format: '.1f' } };
  const values = [...new Set(xs)].toSorted((a, b) => a - b);
  return { ...common, scale: { type: 'log', base: 2 }, axis: { values, format: 'd', labelOverlap: true } };
}

const SERIES = { domain: [OURS, THEIRS, BOUND], range: [BLUE, ORANGE, FAINT] };

function layers(claim: ClaimResult): Layers {
  const rows = plotRows(claim);
  const there = SERIES.domain.filter((name) => rows.some((r) => r.series === name));
  const x = xAxis(
    claim.axis,
    claim.points.map((p) => p.x),
  );
  const y = {
    field: 'y',
    type: 'quantitative',
    title: claim.valueTitle,
    scale: { zero: true },
    axis: Y_TITLE,
  } as const;
  const legend = { title: null, orient: 'bottom', symbolType: 'stroke', symbolSize: 400 } as const;
  const range = there.map((name) => SERIES.range[SERIES.domain.indexOf(name)]);
  const color = { field: 'series', type: 'nominal', scale: { domain: there, range }, legend } as const;
  const dashes: Readonly<Record<string, number[]>> = { [OURS]: [1, 0], [THEIRS]: [6, 4], [BOUND]: [2, 3] };
  const strokeDash = {
    field: 'series',
    type: 'nominal',
    scale: { domain: there, range: there.map((name) => dashes[name]) },
    legend,
  } as const;
  const reference = claim.valueTitle.endsWith('(x)') ? [{ y: 1 }] : [];
  return [
    { data: { values: reference }, mark: { type: 'rule', color: INK, strokeWidth: 0.8 }, encoding: { y } },
    { mark: { type: 'line', strokeWidth: 1.8 }, encoding: { x, y, color, strokeDash } },
    {
      transform: [{ filter: 'datum.low !== null' }],
      mark: { type: 'rule', strokeWidth: 1.5 },
      encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color },
    },
    {
      transform: [{ filter: `datum.series !== ${JSON.stringify(BOUND)}` }],
      mark: { type: 'point', filled: true, size: 50, opacity: 1 },
      encoding: { x, y, color },
    },
  ] as unknown as Layers;
}

/** What a claim's figure is called, on the picture and in its text alternative. */
export function claimTitle(claim: ClaimResult): { title: string; subtitle: string } {
  const paper = claim.paperValue === null ? '' : `, paper ${claimNumber(claim.paperValue, claim.unit)}`;
  const numbers = claim.value === null ? '' : `: ${claimOurs(claim)}${paper}`;
  const scale = claim.scale === 'small' ? ' (small scale)' : '';
  return {
    title: `${claim.id}: ${claim.verdict}${numbers}`,
    subtitle: `${claim.figure}; ${claim.setting}${scale}; ${claim.statement}`,
  };
}

/**
 * A claim's series: ours with its intervals, the paper's, and the bound.
 * @param titled false inside of a page that has the same words as a caption
 * @returns SVG with CSS variables as colours
 */
export async function claimSvg(claim: ClaimResult, titled = true): Promise<string> {
  const { title, subtitle } = claimTitle(claim);
  const heading = { text: sanitizeForTerminal(title), subtitle: linesOf(sanitizeForTerminal(subtitle)) };
  return renderSvg({
    $schema: SCHEMA,
    config: { ...PLOT_CONFIG, aria: titled },
    ...(titled ? { title: { ...heading, offset: 26 } } : {}),
    width: 560,
    height: 280,
    data: { values: plotRows(claim) },
    layer: layers(claim),
  });
}

/** Whether there is anything to draw of a claim. */
export const hasPlot = (claim: ClaimResult): boolean =>
  claim.points.filter((p) => p.value !== null).length > 1;

/** Writes claims/<id>.svg for every claim with a series. */
export async function writeClaimPlots(folder: string, claims: readonly ClaimResult[]): Promise<void> {
  for (const claim of claims.filter(hasPlot)) {
    replaceFile(join(folder, CLAIM_FILES.folder, `${claim.id}.svg`), standalone(await claimSvg(claim)));
  }
}

import { join } from 'node:path';
import type { ClaimResult } from '../core/claim.js';
import { claimNumber, claimOurs } from '../report/claim-text.js';
import { hasSeries } from '../report/page/claim-figures.js';
import type { LinePoint } from '../report/page/document.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { CLAIM_FILES } from './claim-files.js';
import { replaceFile } from './durable.js';
import { DASHED, DOTTED, linesSpec, type SeriesStyle, SOLID } from './plot-lines.js';
import { BLUE, FAINT, linesOf, ORANGE, renderSvg, standalone } from './plot-style.js';

const SERIES: readonly SeriesStyle[] = [
  { name: 'this machine', colour: BLUE, dash: SOLID, marked: true },
  { name: 'paper', colour: ORANGE, dash: DASHED, marked: true },
  { name: 'bound', colour: FAINT, dash: DOTTED, marked: false },
];

function linePoints(claim: ClaimResult): LinePoint[] {
  const [ours = '', theirs = '', limit = ''] = SERIES.map((s) => s.name);
  return claim.points.flatMap(({ x, value, interval, paper, bound }) => {
    const point = (series: string, y: number | null, ends = interval): LinePoint[] =>
      y === null ? [] : [{ x, y, low: ends?.low ?? null, high: ends?.high ?? null, series }];
    return [...point(ours, value), ...point(theirs, paper, null), ...point(limit, bound, null)];
  });
}

/** What a claim's figure is called, on the picture and in its text alternative. */
function claimTitle(claim: ClaimResult): { title: string; subtitle: string } {
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
  const points = linePoints(claim);
  const spec = linesSpec({
    axis: claim.axis,
    valueTitle: claim.valueTitle,
    series: SERIES.filter(({ name }) => points.some((p) => p.series === name)),
    points,
    ratio: claim.valueTitle.endsWith('(x)'),
    aria: titled,
  });
  if (!titled) return renderSvg(spec);
  const text = sanitizeForTerminal(title);
  return renderSvg({
    ...spec,
    title: { text, subtitle: linesOf(sanitizeForTerminal(subtitle)), offset: 26 },
  });
}

/** Writes claims/<id>.svg for every claim with a series. */
export async function writeClaimPlots(folder: string, claims: readonly ClaimResult[]): Promise<void> {
  for (const claim of claims.filter(hasSeries)) {
    replaceFile(join(folder, CLAIM_FILES.folder, `${claim.id}.svg`), standalone(await claimSvg(claim)));
  }
}

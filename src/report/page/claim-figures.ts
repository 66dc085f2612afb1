import { type ClaimResult, CLAIM_VERDICTS } from '../../core/claim.js';
import { claimBound, claimCounts, claimNumber, claimNotes, claimOurs, rowsBehind } from '../claim-text.js';
import { NOT_AVAILABLE, threeDigits } from '../format.js';
import type { Figure, Section, Table } from './document.js';
import { section } from './document.js';

const figureId = (claim: ClaimResult): string => `claim-${claim.id}`;

/** A claim has a picture when it has a line: two points at least. */
export const hasSeries = (claim: ClaimResult): boolean =>
  claim.points.filter((p) => p.value !== null).length > 1;

function verdictTable(claims: readonly ClaimResult[]): Table {
  return {
    caption: 'Verdicts',
    head: ['claim', 'figure', 'verdict', 'ours (95 %)', 'paper', 'bound', 'what is compared', 'rows'],
    rows: claims.map((claim) => {
      const rows = rowsBehind(claim);
      return [
        hasSeries(claim) ? { text: claim.id, href: `#${figureId(claim)}` } : claim.id,
        claim.figure,
        { text: claim.verdict, kind: 'verdict' as const },
        claimOurs(claim),
        claimNumber(claim.paperValue, claim.unit),
        claimBound(claim),
        claim.quantity === '' ? claim.statement : claim.quantity,
        rows.length === 0 ? NOT_AVAILABLE : { text: rows.join(' '), rows },
      ];
    }),
    numeric: [3, 4, 5],
  };
}

function claimFigure(claim: ClaimResult): Figure {
  const there = claim.points.filter((p) => p.value !== null);
  const [first, last] = [there[0], there.at(-1)];
  const number = (value: number | null): string => (value === null ? NOT_AVAILABLE : threeDigits(value));
  const paper = claim.paperValue === null ? '' : `, paper ${claimNumber(claim.paperValue, claim.unit)}`;
  const scale = claim.scale === 'small' ? ' Tested at small scale, not at the paper’s shapes.' : '';
  const why = claim.reason === null ? '' : ` Note: ${claim.reason}.`;
  return {
    id: figureId(claim),
    title: `${claim.id}: ${claim.verdict}`,
    alt: `${claim.valueTitle}: ${number(first?.value ?? null)} at ${claim.axis} ${first?.x}, ${number(last?.value ?? null)} at ${claim.axis} ${last?.x}${paper}.`,
    caption: `${claim.statement} Compared: ${claim.quantity}; ours ${claimOurs(claim)}${paper}. Measured: ${claim.setting}.${scale}${why} Source: ${claim.paperSource}.`,
    plot: { kind: 'claim', claim },
    table: {
      caption: `The numbers of ${claim.id}: ${claim.valueTitle}`,
      head: [claim.axis, 'ours', '95 % low', '95 % high', 'paper', 'bound', 'rows'],
      rows: claim.points.map((p) => [
        String(p.x),
        p.value === null ? (p.reason ?? NOT_AVAILABLE) : threeDigits(p.value),
        number(p.interval?.low ?? null),
        number(p.interval?.high ?? null),
        number(p.paper),
        number(p.bound),
        p.rows.length === 0 ? NOT_AVAILABLE : { text: p.rows.join(' '), rows: p.rows },
      ]),
      numeric: [0, 1, 2, 3, 4, 5],
    },
  };
}

/** Verdicts, and a figure for every claim that has a series; nothing for a folder that `reproduce` did not make. */
export function claimSections(claims: readonly ClaimResult[]): Section[] {
  if (claims.length === 0) return [];
  const small = claims.some((c) => c.scale === 'small');
  const rule =
    'A number is reproduced when our 95 % interval overlaps the paper’s value ±10 %, exceeded when it lies above, not reproduced when below; a trend is a fixed test. The bound is the same ratio if every kernel ran at the roofline of this machine; "!" marks a bound under the paper’s value.';
  const scale = small
    ? [
        'Tested at SMALL SCALE: small shapes stand in for the paper’s, so a verdict says how this machine scales, not whether the paper’s shapes do.',
      ]
    : [];
  const order = CLAIM_VERDICTS;
  const figures = claims
    .filter(hasSeries)
    .toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
    .map(claimFigure);
  return [
    section('verdicts', 'Verdicts', {
      paragraphs: [`${claimCounts(claims)}.`, ...scale, rule],
      tables: [verdictTable(claims)],
      points: claimNotes(claims),
    }),
    ...(figures.length > 0 ? [section('claims', 'Claims, one by one', { figures })] : []),
  ];
}

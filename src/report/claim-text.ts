import type { ClaimResult } from '../core/claim.js';
import { sanitizeForTerminal } from './sanitize.js';
import { NOT_AVAILABLE, threeDigits } from './format.js';

/** Three digits with the unit: `1.83x`, `67.1 %`, `19.2`. */
export function claimNumber(value: number | null, unit: string): string {
  if (value === null) return NOT_AVAILABLE;
  if (unit === 'x') return `${threeDigits(value)}x`;
  return unit === '%' ? `${threeDigits(value)} %` : threeDigits(value);
}

/** Our value with its interval: `1.83x 1.82-1.84`. */
export function claimOurs({ value, interval, unit }: ClaimResult): string {
  const own = claimNumber(value, unit);
  if (value === null || interval === null) return own;
  const [low, high] = [threeDigits(interval.low), threeDigits(interval.high)];
  return low === high ? own : `${own} ${low}-${high}`;
}

/** The bound; an exclamation mark where it lies under the paper's value. */
export function claimBound({ bound, boundUnderPaper, unit }: ClaimResult): string {
  return `${claimNumber(bound, unit)}${boundUnderPaper ? ' !' : ''}`;
}

export const CLAIM_HEADINGS = ['claim', 'figure', 'verdict', 'ours (95 %)', 'paper', 'bound'] as const;

/** One line of the verdict table, in the order of CLAIM_HEADINGS, safe for a terminal. */
export function claimLine(claim: ClaimResult): string[] {
  const paper = claimNumber(claim.paperValue, claim.unit);
  return [claim.id, claim.figure, claim.verdict, claimOurs(claim), paper, claimBound(claim)].map(
    sanitizeForTerminal,
  );
}

/** Why verdicts are what they are: one line per reason, with the claims that share it; safe for a terminal. */
export function claimNotes(claims: readonly ClaimResult[]): string[] {
  const reasons = new Map<string, string[]>();
  for (const { id, reason } of claims) {
    if (reason !== null) reasons.set(reason, [...(reasons.get(reason) ?? []), id]);
  }
  return [...reasons].map(([reason, ids]) => sanitizeForTerminal(`${ids.join(', ')}: ${reason}`));
}

/** "9 reproduced, 4 exceeded, 3 not reproduced, 19 not measurable here" */
export function claimCounts(claims: readonly ClaimResult[]): string {
  const verdicts = ['reproduced', 'exceeded', 'not reproduced', 'not measurable here'] as const;
  return verdicts.map((v) => `${claims.filter((c) => c.verdict === v).length} ${v}`).join(', ');
}

/** Lines of rows.csv that a verdict stands on: a number's point, all points of a trend. */
export function rowsBehind({ points, test, value }: ClaimResult): number[] {
  const there = points.filter((p) => p.value !== null);
  const used = test === 'number' ? there.filter((p) => p.value === value) : there;
  return [...new Set(used.flatMap((p) => p.rows))].toSorted((a, b) => a - b);
}

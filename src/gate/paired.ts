import type { GateVerdict } from '../core/verdict.js';
import { median } from '../stats/quantiles.js';
import { studentTest } from '../stats/student-t.js';
import { decide, type Finding } from './decide.js';

/** A slowdown below this is not worth an alarm: the default of `ab`. */
export const PAIRED_THRESHOLD = 0.02;
/** False discovery rate of `ab` */
export const PAIRED_ALPHA = 0.05;
/** Rounds in ABBA order before the first verdict */
export const PAIRED_ROUNDS = 8;

/** Medians of one round in which both builds were measured, one right after the other. Microseconds. */
export interface Pair {
  readonly baseUs: number;
  readonly headUs: number;
}

export interface PairedCell {
  readonly title: string;
  /** At least two to be judged */
  readonly pairs: readonly Pair[];
  /** Why a side has no numbers; null where it has */
  readonly baseReason: string | null;
  readonly headReason: string | null;
}

const UNKNOWN = { effect: null, interval: null, p: null, q: null } as const;

function finding(pairs: readonly Pair[]): Finding {
  const test = studentTest(pairs.map((pair) => Math.log(pair.headUs) - Math.log(pair.baseUs)));
  return {
    logEffect: test.mean,
    logInterval: test.interval,
    logEvidence: test.mean,
    pGreater: test.pGreater,
    pLess: test.pLess,
  };
}

function unjudged(cell: PairedCell): GateVerdict {
  const { baseReason, headReason } = cell;
  const reasons = [
    baseReason === null ? null : `base: ${baseReason}`,
    headReason === null ? null : `head: ${headReason}`,
  ].filter((r) => r !== null);
  const common = { title: cell.title, ...UNKNOWN, baseUs: null, headUs: null, baseRuns: 0, headRuns: 0 };
  const reason = reasons.length === 0 ? 'fewer than two rounds' : reasons.join('; ');
  if (baseReason === null && headReason !== null) return { ...common, verdict: 'missing', reason };
  if (baseReason !== null && headReason === null) return { ...common, verdict: 'new', reason };
  return { ...common, verdict: 'inconclusive', reason };
}

/**
 * Verdicts of interleaved rounds: d_k = ln(head_k / base_k), Student t over the rounds, corrected over the cells.
 *
 * @param threshold relative slowdown that counts, 0.02 = 2 %
 * @returns in the order of the cells; `missing` and `new` where one side could not be measured
 */
export function judgePaired(cells: readonly PairedCell[], threshold: number): GateVerdict[] {
  const judged = cells.filter((c) => c.pairs.length >= 2 && c.baseReason === null && c.headReason === null);
  const decisions = decide(
    judged.map((c) => finding(c.pairs)),
    { threshold, alpha: PAIRED_ALPHA },
  );
  const byCell = new Map(judged.map((cell, i) => [cell, decisions[i]]));
  return cells.map((cell) => {
    const decision = byCell.get(cell);
    if (decision === undefined) return unjudged(cell);
    return {
      title: cell.title,
      ...decision,
      baseUs: median(cell.pairs.map((p) => p.baseUs)),
      headUs: median(cell.pairs.map((p) => p.headUs)),
      baseRuns: cell.pairs.length,
      headRuns: cell.pairs.length,
      reason: decision.verdict === 'inconclusive' ? 'the interval is wider than the threshold' : null,
    };
  });
}

/**
 * What remains of a verdict after a cell was measured once more in fresh processes: a finding must be found again, in the
 * same direction; else it is inconclusive. A side that failed this time is missing, whatever it took at first.
 */
export function confirm(first: GateVerdict, again: GateVerdict): GateVerdict {
  if (first.verdict !== 'regressed' && first.verdict !== 'improved') return first;
  if (first.verdict === again.verdict) return first;
  if (again.verdict === 'missing' || again.verdict === 'new') return again;
  return { ...first, verdict: 'inconclusive', reason: `${first.verdict} at first, not in fresh processes` };
}

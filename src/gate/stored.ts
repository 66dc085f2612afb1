import type { GateVerdict } from '../core/verdict.js';
import { normalUpperTail } from '../stats/distributions.js';
import { mannWhitney, smallestRankP } from '../stats/mann-whitney.js';
import { median } from '../stats/quantiles.js';
import { welchTest } from '../stats/student-t.js';
import { decide, type Finding } from './decide.js';

/** A slowdown below this is lost in what changes from session to session: the default of `compare`. */
export const STORED_THRESHOLD = 0.05;
export const STORED_ALPHA = 0.01;
/** The threshold is at least this many times what the instrument says about the same kernel measured twice. */
export const AA_FACTOR = 1.2;

/** One run's median of one kernel in one cell, with its 95 % bootstrap interval. Microseconds, above 0. */
export interface StoredRun {
  readonly medianUs: number;
  readonly lowUs: number;
  readonly highUs: number;
}

export interface StoredCell {
  readonly title: string;
  readonly base: readonly StoredRun[];
  readonly head: readonly StoredRun[];
  /** Why a side has no run, `failed: E_CRASHED`; null where it has or where the cell is not there at all */
  readonly baseReason: string | null;
  readonly headReason: string | null;
}

export interface StoredJudgement {
  readonly verdicts: readonly GateVerdict[];
  /** Median over the cells of head / base - 1 where single runs were compared; null elsewhere */
  readonly sessionShift: number | null;
}

const NORMAL_95 = 1.959963984540054;
/** Below this many cells the spread between sessions cannot be seen in the data. */
const CELLS_FOR_SPREAD = 20;
/** What two sessions differ by when nothing changed: two draws of 1 % offset and 1 % drift (docs/ci.md). */
const ASSUMED_SPREAD = 0.02;
/** A normal distribution's standard deviation over its median absolute deviation. */
const MAD_TO_SD = 1.4826;

const logs = (runs: readonly StoredRun[]): number[] => runs.map((run) => Math.log(run.medianUs));

/** The run with the middle median; the lower of the two middle ones. */
function middleRun(runs: readonly StoredRun[]): StoredRun {
  const ascending = runs.toSorted((a, b) => a.medianUs - b.medianUs);
  return ascending[(ascending.length - 1) >> 1] as StoredRun;
}

/**
 * Several runs a side. The rank test assumes nothing about the noise, but five runs a side have only 252 orderings: where
 * the best of them could not count among so many cells, Welch's t test of the logarithms decides instead.
 */
function severalRuns(cell: StoredCell, cells: number): Finding {
  const [base, head] = [logs(cell.base), logs(cell.head)];
  const welch = welchTest(base, head);
  const ranksCanShow = smallestRankP(head.length, base.length) * cells < STORED_ALPHA;
  const { pGreater, pLess } = ranksCanShow ? mannWhitney(base, head) : welch;
  const logEffect = median(head) - median(base);
  return { logEffect, logEvidence: logEffect, logInterval: welch.interval, pGreater, pLess };
}

interface Single {
  readonly logEffect: number;
  /** Of the log effect, within the two sessions */
  readonly standardError: number;
}

function singleRun(cell: StoredCell): Single {
  const [base, head] = [middleRun(cell.base), middleRun(cell.head)];
  // Half-widths of the bootstrap intervals of ln median, joined: the bootstrap of a ratio of independent medians.
  const error = (run: StoredRun): number => Math.log(run.highUs / run.lowUs) / (2 * NORMAL_95);
  return {
    logEffect: Math.log(head.medianUs / base.medianUs),
    standardError: Math.hypot(error(base), error(head)),
  };
}

/** What two sessions differ by, seen over all cells: most of them did not change. */
interface SessionNoise {
  /** Median of the log effects; 0 with few cells */
  readonly shift: number;
  /** Robust standard deviation around it */
  readonly spread: number;
}

function sessionNoise(singles: readonly Single[]): SessionNoise {
  if (singles.length < CELLS_FOR_SPREAD) return { shift: 0, spread: ASSUMED_SPREAD };
  const effects = singles.map((s) => s.logEffect);
  const shift = median(effects);
  return { shift, spread: MAD_TO_SD * median(effects.map((e) => Math.abs(e - shift))) };
}

/**
 * Takes the part of an effect away that the session explains: a shift of all cells in its direction, as long as the
 * shift itself is below the threshold. A larger one is a change of the build or of the machine and stays.
 */
function withoutShift(effect: number, shift: number, limit: number): number {
  if (Math.abs(shift) >= limit || Math.sign(shift) !== Math.sign(effect)) return effect;
  return Math.sign(effect) * Math.max(0, Math.abs(effect) - Math.abs(shift));
}

function singleFinding(single: Single, noise: SessionNoise, limit: number): Finding {
  const sd = Math.hypot(single.standardError, noise.spread);
  const logEvidence = withoutShift(single.logEffect, noise.shift, limit);
  const z = sd === 0 ? Math.sign(logEvidence) * Infinity : logEvidence / sd;
  const half = NORMAL_95 * sd;
  return {
    logEffect: single.logEffect,
    logEvidence,
    logInterval: { low: single.logEffect - half, high: single.logEffect + half },
    pGreater: Number.isNaN(z) ? 1 : normalUpperTail(z),
    pLess: Number.isNaN(z) ? 1 : normalUpperTail(-z),
  };
}

function unmatched(cell: StoredCell): GateVerdict {
  const { base, head } = cell;
  return {
    title: cell.title,
    verdict: head.length > 0 ? 'new' : 'missing',
    effect: null,
    interval: null,
    p: null,
    q: null,
    baseUs: base.length === 0 ? null : median(base.map((r) => r.medianUs)),
    headUs: head.length === 0 ? null : median(head.map((r) => r.medianUs)),
    baseRuns: base.length,
    headRuns: head.length,
    reason: cell.headReason ?? cell.baseReason,
  };
}

function inconclusiveReason(finding: Finding, limit: number): string {
  return Math.abs(finding.logEffect) >= limit
    ? 'the difference is large enough, the noise too: measure more runs a side'
    : 'the noise is larger than the threshold leaves room for';
}

/**
 * Verdicts over a stored baseline: a test over the medians of the runs where both sides have several, else the
 * bootstrap intervals of the two medians, widened by what two sessions differ by.
 *
 * @param threshold relative slowdown that counts, 0.05 = 5 %; a true slowdown of exactly this is found half the time
 * @returns verdicts in the order of the cells
 */
export function judgeStored(cells: readonly StoredCell[], threshold: number): StoredJudgement {
  const limit = Math.log1p(threshold);
  const matched = cells.filter((c) => c.base.length > 0 && c.head.length > 0);
  const isSingle = (c: StoredCell): boolean => c.base.length < 2 || c.head.length < 2;
  const singles = new Map(matched.filter(isSingle).map((c) => [c, singleRun(c)]));
  const noise = sessionNoise([...singles.values()]);
  const findings = matched.map((cell) => {
    const single = singles.get(cell);
    return single === undefined ? severalRuns(cell, matched.length) : singleFinding(single, noise, limit);
  });
  const decisions = decide(findings, { threshold, alpha: STORED_ALPHA });
  const index = new Map(matched.map((cell, i) => [cell, i]));
  const verdicts = cells.map((cell): GateVerdict => {
    const i = index.get(cell);
    const [decision, finding] = i === undefined ? [] : [decisions[i], findings[i]];
    if (decision === undefined || finding === undefined) return unmatched(cell);
    const unclear = decision.verdict === 'inconclusive';
    return {
      title: cell.title,
      ...decision,
      baseUs: median(cell.base.map((r) => r.medianUs)),
      headUs: median(cell.head.map((r) => r.medianUs)),
      baseRuns: cell.base.length,
      headRuns: cell.head.length,
      reason: unclear ? inconclusiveReason(finding, limit) : null,
    };
  });
  return { verdicts, sessionShift: singles.size < CELLS_FOR_SPREAD ? null : Math.expm1(noise.shift) };
}

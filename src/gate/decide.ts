import type { Interval } from '../core/summary.js';
import type { GateVerdict, Verdict } from '../core/verdict.js';
import { benjaminiHochberg } from '../stats/multiple-tests.js';

/** What a test found for one cell, on the scale ln(head / base). */
export interface Finding {
  readonly logEffect: number;
  readonly logInterval: Interval;
  /** The log effect that must reach the threshold; below the raw one where part of it is the session's. */
  readonly logEvidence: number;
  readonly pGreater: number;
  readonly pLess: number;
}

export interface DecisionRule {
  /** Relative: 0.02 = slower by 2 % counts; faster counts by the same ratio */
  readonly threshold: number;
  /** A finding needs q below this */
  readonly alpha: number;
}

export type Decision = Pick<GateVerdict, 'verdict' | 'effect' | 'interval' | 'p' | 'q'>;

function verdictOf(finding: Finding, qGreater: number, qLess: number, rule: DecisionRule): Verdict {
  const limit = Math.log1p(rule.threshold);
  const { logInterval, logEvidence } = finding;
  if (qGreater < rule.alpha && logInterval.low > 0 && logEvidence >= limit) return 'regressed';
  if (qLess < rule.alpha && logInterval.high < 0 && logEvidence <= -limit) return 'improved';
  return logInterval.low > -limit && logInterval.high < limit ? 'same' : 'inconclusive';
}

/**
 * Verdicts over all cells of one comparison: regressions and improvements are two families of tests, each corrected for
 * the number of cells (Benjamini and Hochberg).
 *
 * @returns in the order of the findings; each is regressed, improved, same or inconclusive
 */
export function decide(findings: readonly Finding[], rule: DecisionRule): Decision[] {
  const qGreater = benjaminiHochberg(findings.map((f) => f.pGreater));
  const qLess = benjaminiHochberg(findings.map((f) => f.pLess));
  return findings.map((finding, i) => {
    const slower = finding.logEffect >= 0;
    return {
      verdict: verdictOf(finding, qGreater[i] ?? 1, qLess[i] ?? 1, rule),
      effect: Math.expm1(finding.logEffect),
      interval: { low: Math.expm1(finding.logInterval.low), high: Math.expm1(finding.logInterval.high) },
      p: slower ? finding.pGreater : finding.pLess,
      q: (slower ? qGreater[i] : qLess[i]) ?? 1,
    };
  });
}

import type { ClaimTest } from '../core/claim.js';
import { crossingOf } from '../core/crossing.js';
import { InternalError } from '../core/errors.js';
import type { Interval } from '../core/summary.js';

/** A point of a series that is there. */
export interface Measured {
  readonly x: number;
  readonly value: number;
  /** The value twice where the quantity has no interval */
  readonly interval: Interval;
}

/** What a test says: one number that stands for the series, and whether the trend holds. */
export interface Finding {
  readonly value: number | null;
  readonly interval: Interval | null;
  /** null: the number decides, against the paper's */
  readonly holds: boolean | null;
  readonly reason: string | null;
}

/** Share by which a number may miss the paper's and still reproduce it. */
export const NUMBER_TOLERANCE = 0.1;

/**
 * Share by which a later cell may fall behind before that counts as a fall: cells are measured minutes apart, and an
 * interval does not know what drifts between them.
 */
export const TREND_TOLERANCE = 0.05;

/** "Linear within 10 %": of the value at full density. */
export const LINEAR_TOLERANCE = 0.1;

/** Largest share of the time at full density that may not depend on the density: a flat line is not "nearly linear". */
export const MAX_FIXED_SHARE = 0.25;

function ends(points: readonly Measured[]): [Measured, Measured] {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) {
    throw new InternalError('Expected points for the test of a claim, got none');
  }
  return [first, last];
}

/** a / b with the interval that holds for all values within theirs. */
function ratioOf(a: Measured, b: Measured): Pick<Finding, 'value' | 'interval'> {
  return {
    value: a.value / b.value,
    interval: { low: a.interval.low / b.interval.high, high: a.interval.high / b.interval.low },
  };
}

/** Every step up (or level within the tolerance), and the last clearly above the first. Value: last over first. */
function rising(points: readonly Measured[]): Finding {
  const [first, last] = ends(points);
  const fall = points.findIndex((p, i) => {
    const before = points[i - 1];
    return before !== undefined && p.interval.high < before.interval.low * (1 - TREND_TOLERANCE);
  });
  const rose = last.interval.low > first.interval.high;
  const reason =
    fall > 0
      ? `falls from ${points[fall - 1]?.x} to ${points[fall]?.x}`
      : rose
        ? null
        : `not higher at ${last.x} than at ${first.x}`;
  return { ...ratioOf(last, first), holds: reason === null, reason };
}

/** As `rising`, mirrored. Value: last over first. */
function falling(points: readonly Measured[]): Finding {
  const inverse = points.map((p) => ({
    x: p.x,
    value: 1 / p.value,
    interval: { low: 1 / p.interval.high, high: 1 / p.interval.low },
  }));
  const { holds, reason } = rising(inverse);
  const [first, last] = ends(points);
  const said = reason?.replace('falls', 'rises').replace('not higher', 'not lower') ?? null;
  return { ...ratioOf(last, first), holds, reason: said };
}

/** No point clearly below an earlier one. Value: the smallest ratio of a point to the largest before it; 1: never lower. */
function noFall(points: readonly Measured[]): Finding {
  let [highest] = ends(points);
  let worst = { value: 1, interval: { low: 1, high: 1 } } as Pick<Finding, 'value' | 'interval'>;
  let reason: string | null = null;
  for (const point of points.slice(1)) {
    const ratio = ratioOf(point, highest);
    if ((ratio.value ?? 1) < (worst.value ?? 1)) worst = ratio;
    if (point.interval.high < highest.interval.low * (1 - TREND_TOLERANCE)) {
      reason ??= `falls from ${highest.x} to ${point.x}`;
    }
    if (point.value > highest.value) highest = point;
  }
  return { ...worst, holds: reason === null, reason };
}

/** Least squares. */
function lineThrough(points: readonly Measured[]): { fixed: number; slope: number } {
  const mean = (of: (p: Measured) => number): number =>
    points.reduce((sum, p) => sum + of(p), 0) / points.length;
  const [x, y] = [mean((p) => p.x), mean((p) => p.value)];
  const slope = mean((p) => (p.x - x) * (p.value - y)) / mean((p) => (p.x - x) ** 2);
  return { fixed: y - slope * x, slope };
}

/**
 * Every point near the line through the series, little of which is independent of x.
 * Value: the largest distance from the line, in per cent of the last value.
 */
function linear(points: readonly Measured[]): Finding {
  const { fixed, slope } = lineThrough(points);
  const [, last] = ends(points);
  const deviations = points.map((p) => Math.abs(fixed + slope * p.x - p.value) / last.value);
  const worst = Math.max(...deviations);
  const fixedShare = fixed / (fixed + slope * last.x);
  const said = `${Math.max(0, 100 * fixedShare).toFixed(0)} % of the time at ${last.x} does not depend on the density`;
  const reason =
    worst > LINEAR_TOLERANCE
      ? `off the line at ${points[deviations.indexOf(worst)]?.x}`
      : fixedShare > MAX_FIXED_SHARE
        ? said
        : null;
  return { value: 100 * worst, interval: null, holds: reason === null, reason: reason ?? said };
}

/** Every speedup below 1, with its whole interval. Value: the largest. */
function slowerThanDense(points: readonly Measured[]): Finding {
  const faster = points.filter((p) => p.interval.high >= 1);
  const best = points.reduce((a, b) => (b.value > a.value ? b : a));
  const reason = faster.length === 0 ? null : `not slower at ${faster.map((p) => p.x).join(', ')}`;
  return { value: best.value, interval: best.interval, holds: faster.length === 0, reason };
}

function crossing(points: readonly Measured[]): Finding {
  const [first, last] = ends(points);
  const value = crossingOf(points);
  // The upper ends cross first.
  const low = crossingOf(points.map((p) => ({ x: p.x, value: p.interval.high })));
  const high = crossingOf(points.map((p) => ({ x: p.x, value: p.interval.low })));
  if (value === null) {
    const side = first.value >= 1 ? 'above' : 'below';
    return {
      value: null,
      interval: null,
      holds: false,
      reason: `the ratio is ${side} 1 from ${first.x} to ${last.x}`,
    };
  }
  return { value, interval: { low: low ?? value, high: high ?? value }, holds: null, reason: null };
}

function number(points: readonly Measured[], at: number | null): Finding {
  const point = points.find((p) => p.x === at);
  if (point === undefined)
    throw new InternalError(`Expected a point at ${at} for the test of a claim, got none`);
  return { value: point.value, interval: point.interval, holds: null, reason: null };
}

const TRENDS: Readonly<Record<Exclude<ClaimTest, 'number'>, (points: readonly Measured[]) => Finding>> = {
  rising,
  falling,
  'no-fall': noFall,
  linear,
  'slower-than-dense': slowerThanDense,
  crossing,
};

/**
 * Applies a named test to a series.
 * @param points at least one, ascending in x
 * @param at where `number` reads; else not used
 */
export function applyTest(test: ClaimTest, points: readonly Measured[], at: number | null): Finding {
  return test === 'number' ? number(points, at) : TRENDS[test](points);
}

import type { UnionLaw, UnionLawKind, UnionPoint } from '../core/union.js';
import { LAW_PARAMETER_RANGE, unionDensity } from './union.js';

/** A point that exists. */
interface Known {
  readonly batchSize: number;
  readonly density: number;
}

/** How far a law is from points, in density (0.01 = one percentage point). */
export interface LawError {
  readonly points: number;
  readonly meanAbsolute: number;
  readonly worst: number;
}

export interface LawFit {
  readonly law: UnionLaw;
  /** Over the points that were fitted */
  readonly error: LawError;
  /** Batch sizes that were fitted */
  readonly fittedOn: readonly number[];
  /** What a reader of the numbers must know; empty when the fit is an ordinary one. */
  readonly warnings: readonly string[];
}

function known(points: readonly UnionPoint[], batchSizes: readonly number[] | null): Known[] {
  const out: Known[] = [];
  for (const p of points) {
    if (p.density !== null && (batchSizes === null || batchSizes.includes(p.batchSize))) {
      out.push({ batchSize: p.batchSize, density: p.density });
    }
  }
  return out;
}

/** Mean and worst |law - point| over the points that exist; null when there is none. */
export function lawError(law: UnionLaw, points: readonly UnionPoint[]): LawError | null {
  const list = known(points, null);
  if (list.length === 0) return null;
  const errors = list.map((p) => Math.abs(unionDensity(law, p.batchSize) - p.density));
  return {
    points: errors.length,
    meanAbsolute: errors.reduce((a, b) => a + b, 0) / errors.length,
    worst: Math.max(...errors),
  };
}

/** The law in which every neuron has the probability that the point of the smallest batch implies. */
function independentThrough(points: readonly Known[]): UnionLaw {
  const first = points.reduce((a, b) => (b.batchSize < a.batchSize ? b : a));
  return { kind: 'independent', p: -Math.expm1(Math.log1p(-first.density) / first.batchSize) };
}

const LOG_MIN = Math.log(LAW_PARAMETER_RANGE.min);
const LOG_MAX = Math.log(LAW_PARAMETER_RANGE.max);
const clamp = (x: number): number => Math.min(LOG_MAX, Math.max(LOG_MIN, x));

type Pair = readonly [number, number];

function residuals(x: Pair, points: readonly Known[]): number[] {
  const law: UnionLaw = { kind: 'beta-binomial', alpha: Math.exp(x[0]), beta: Math.exp(x[1]) };
  return points.map((p) => unionDensity(law, p.batchSize) - p.density);
}

const cost = (r: readonly number[]): number => r.reduce((s, v) => s + v * v, 0);

/** The best of a coarse grid over the whole range: the least-squares surface has long flat valleys. */
function gridStart(points: readonly Known[]): Pair {
  const steps = 14;
  let best: Pair = [0, 0];
  let bestCost = Infinity;
  for (let i = 0; i <= steps; i++) {
    for (let j = 0; j <= steps; j++) {
      const x: Pair = [
        LOG_MIN + ((LOG_MAX - LOG_MIN) * i) / steps,
        LOG_MIN + ((LOG_MAX - LOG_MIN) * j) / steps,
      ];
      const c = cost(residuals(x, points));
      if (c < bestCost) {
        bestCost = c;
        best = x;
      }
    }
  }
  return best;
}

/** Solves (J'J + damping diag(J'J)) step = -J'r for two unknowns, J by central differences. */
function dampedStep(x: Pair, r: readonly number[], points: readonly Known[], damping: number): Pair {
  const h = 1e-5;
  const column = (dx: number, dy: number): number[] => {
    const plus = residuals([x[0] + dx, x[1] + dy], points);
    const minus = residuals([x[0] - dx, x[1] - dy], points);
    return plus.map((v, i) => (v - (minus[i] ?? 0)) / (2 * h));
  };
  const j0 = column(h, 0);
  const j1 = column(0, h);
  const dot = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((s, v, i) => s + v * (b[i] ?? 0), 0);
  // The small constant keeps a flat direction (all points 0, say) from dividing by nothing.
  const a00 = dot(j0, j0) * (1 + damping) + 1e-18;
  const a11 = dot(j1, j1) * (1 + damping) + 1e-18;
  const a01 = dot(j0, j1);
  const g0 = dot(j0, r);
  const g1 = dot(j1, r);
  const determinant = a00 * a11 - a01 * a01;
  return [-(a11 * g0 - a01 * g1) / determinant, -(a00 * g1 - a01 * g0) / determinant];
}

/** Levenberg-Marquardt in (log a, log b) from the best grid point, inside the range of the parameters. */
function fitBetaBinomial(points: readonly Known[]): UnionLaw {
  let x = gridStart(points);
  let r = residuals(x, points);
  let damping = 1e-2;
  for (let iteration = 0; iteration < 200 && damping < 1e12; iteration++) {
    const step = dampedStep(x, r, points, damping);
    const next: Pair = [clamp(x[0] + step[0]), clamp(x[1] + step[1])];
    const nextResiduals = residuals(next, points);
    if (cost(nextResiduals) < cost(r)) {
      const moved = Math.hypot(next[0] - x[0], next[1] - x[1]);
      x = next;
      r = nextResiduals;
      damping = Math.max(damping / 10, 1e-12);
      if (moved < 1e-10) break;
    } else {
      damping *= 10;
    }
  }
  return { kind: 'beta-binomial', alpha: Math.exp(x[0]), beta: Math.exp(x[1]) };
}

/**
 * Fits a law to the points of one layer by least squares in (log alpha, log beta); points without a density are skipped.
 *
 * Two parameters need two points. A layer with one falls back to the independent law through it, with a warning: the
 * figures hide the small batches of the earliest layers, whose unions are so small that the two laws hardly differ.
 *
 * @param points densities in [0, 1]; batch sizes >= 1, each at most once
 * @param batchSizes fit on these only; null: on all
 * @returns null when no point has a density
 */
export function fitUnionLaw(
  points: readonly UnionPoint[],
  kind: UnionLawKind,
  batchSizes: readonly number[] | null = null,
): LawFit | null {
  const list = known(points, batchSizes);
  if (list.length === 0) return null;
  const warnings: string[] = [];
  let law: UnionLaw;
  if (kind === 'independent') {
    law = independentThrough(list);
  } else if (list.length === 1) {
    law = independentThrough(list);
    warnings.push(`one point only (batch ${list[0]?.batchSize}): independent law through it`);
  } else {
    law = fitBetaBinomial(list);
  }
  const error = lawError(law, list);
  if (error === null) return null;
  return { law, error, fittedOn: list.map((p) => p.batchSize), warnings };
}

import type { UnionCurves, UnionLawKind, UnionPoint } from '../core/union.js';
import { fitUnionLaw, lawError, type LawError, type LawFit } from './union-fit.js';

/** Batch sizes that a law is fitted on where a layer has them all; the others then show how well it predicts. */
export const FIT_BATCH_SIZES: readonly number[] = [1, 8, 64];

export interface LayerFit {
  readonly layer: number;
  /** null: the layer has no point at all */
  readonly fit: LawFit | null;
  /** Points that the fit did not see; empty where it saw all */
  readonly heldOut: readonly UnionPoint[];
}

/** Fits every layer on its own: on FIT_BATCH_SIZES where it has them all, else on every point it has. */
export function fitLayers(curves: UnionCurves, kind: UnionLawKind): LayerFit[] {
  return curves.layers.map(({ layer, points }) => {
    const known = points.filter((p) => p.density !== null);
    const complete = FIT_BATCH_SIZES.every((b) => known.some((p) => p.batchSize === b));
    const fit = fitUnionLaw(known, kind, complete ? FIT_BATCH_SIZES : null);
    return { layer, fit, heldOut: known.filter((p) => fit !== null && !fit.fittedOn.includes(p.batchSize)) };
  });
}

/** How well the fits of all layers do together, in density. */
export interface FitSummary {
  /** Layers with a fit, of all */
  readonly layers: number;
  readonly allLayers: number;
  /** Over the points that were fitted; null without any */
  readonly fitted: LawError | null;
  /** Over the points that were not, in layers fitted on FIT_BATCH_SIZES; null where everything was fitted */
  readonly heldOut: LawError | null;
}

function together(errors: readonly LawError[]): LawError | null {
  const points = errors.reduce((n, e) => n + e.points, 0);
  if (points === 0) return null;
  return {
    points,
    meanAbsolute: errors.reduce((s, e) => s + e.meanAbsolute * e.points, 0) / points,
    worst: Math.max(...errors.map((e) => e.worst)),
  };
}

export function summarizeFits(fits: readonly LayerFit[]): FitSummary {
  const there = fits.flatMap(({ fit, heldOut }) => (fit === null ? [] : [{ fit, heldOut }]));
  const heldOut = there.map(({ fit, heldOut: points }) => lawError(fit.law, points));
  return {
    layers: there.length,
    allLayers: fits.length,
    fitted: together(there.map(({ fit }) => fit.error)),
    heldOut: together(heldOut.filter((e) => e !== null)),
  };
}

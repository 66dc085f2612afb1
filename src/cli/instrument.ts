import type { Backend } from '../backends/backend.js';
import { cellKey } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import type { SweepPlan } from '../core/plan.js';
import { type AASpread, normalizeAA } from '../stats/paired.js';

/** What a run says about its own instrument. */

/** Seconds of sampling that the A/A cell may take. */
const AA_TIME_S = 2;

/** The larger of two measurements of the same ceilings: too low a ceiling flatters every share of it. */
export function largerCeilings(a: Ceilings, b: Ceilings): Ceilings {
  return {
    readGbPerS: Math.max(a.readGbPerS, b.readGbPerS),
    matrixTflopPerS: Math.max(a.matrixTflopPerS, b.matrixTflopPerS),
    details: a.details,
  };
}

/** Ceilings as env.json holds them; null where the file has none. */
export function storedCeilings(details: Readonly<Record<string, unknown>> | null): Ceilings | null {
  const read = details?.['read_gb_per_s'];
  const matrix = details?.['matrix_tflop_per_s'];
  if (typeof read !== 'number' || typeof matrix !== 'number') return null;
  return {
    readGbPerS: read,
    matrixTflopPerS: matrix,
    details: details as Readonly<Record<string, number | string>>,
  };
}

/** The same dense kernel twice in one cell: what the instrument says where there is nothing to find. */
export async function measureAA(backend: Backend, plan: SweepPlan): Promise<AASpread | null> {
  const cell = plan.cells.find((c) => c.candidates.some((k) => k.variant === 'dense'));
  const dense = cell?.candidates.find((k) => k.variant === 'dense');
  if (cell === undefined || dense === undefined) return null;
  const twice = { ...cell, candidates: [dense, dense] };
  const outcome = await backend.measure({
    cell: { ...twice, key: cellKey(twice) },
    sampling: { ...plan.sampling, maxTimeS: Math.min(AA_TIME_S, plan.sampling.maxTimeS) },
    threads: plan.threads,
    breakdown: false,
  });
  const [a, b] = outcome.candidates;
  return a?.status === 'ok' && b?.status === 'ok' ? normalizeAA(a.samplesNs, b.samplesNs, cell.seed) : null;
}

import type { Backend } from '../backends/backend.js';
import { cellKey } from '../core/cell.js';
import type { Ceilings } from '../core/environment.js';
import type { SweepPlan } from '../core/plan.js';
import type { EnvironmentFile } from '../sinks/environment-file.js';
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

/** How far measurements of the same ceilings of one sweep are apart: 1 - least / largest, 0.25 = a quarter lost. */
export interface CeilingsSpread {
  readonly readGbPerS: number;
  readonly matrixTflopPerS: number;
}

/** @returns null where there is nothing to compare */
export function ceilingsSpread(measured: readonly Ceilings[]): CeilingsSpread | null {
  if (measured.length < 2) return null;
  const of = (values: readonly number[]): number => 1 - Math.min(...values) / Math.max(...values);
  return {
    readGbPerS: of(measured.map((c) => c.readGbPerS)),
    matrixTflopPerS: of(measured.map((c) => c.matrixTflopPerS)),
  };
}

/** A spread from which on it is no noise of the measurement: the machine itself was not the same all the time. */
const CEILINGS_APART = 0.2;

/**
 * What taking the larger ceiling would hide: a machine that got slower (or faster) during a sweep.
 *
 * @param measured in the order of time
 * @returns one text per ceiling that is 20 % or more apart
 */
export function ceilingsWarnings(measured: readonly Ceilings[]): string[] {
  const spread = ceilingsSpread(measured);
  const kinds = [
    { name: 'read', unit: 'GB/s', key: 'readGbPerS' },
    { name: 'matrix', unit: 'TFLOP/s', key: 'matrixTflopPerS' },
  ] as const;
  return kinds.flatMap(({ name, unit, key }) => {
    const apart = spread?.[key] ?? 0;
    if (apart < CEILINGS_APART) return [];
    const values = measured.map((c) => c[key].toPrecision(3)).join(', then ');
    return [
      `the ${name} ceiling was ${values} ${unit}, ${(100 * apart).toFixed(0)} % apart: the machine was not the same ` +
        'during this sweep; shares of the bound count against the largest, and speedups hold within their cell only',
    ];
  });
}

/** No machine is slower than this; a file that says so was edited. 10^9 bytes or 10^12 operations per second. */
const LEAST_CEILING = 1e-6;

/** Ceilings as env.json holds them; null where the file has none that can be. */
export function storedCeilings(details: Readonly<Record<string, unknown>> | null): Ceilings | null {
  const read = details?.['read_gb_per_s'];
  const matrix = details?.['matrix_tflop_per_s'];
  const usable = (value: unknown): value is number => typeof value === 'number' && value >= LEAST_CEILING;
  if (!usable(read) || !usable(matrix)) return null;
  return {
    readGbPerS: read,
    matrixTflopPerS: matrix,
    details: details as Readonly<Record<string, number | string>>,
  };
}

/**
 * Every measurement of the ceilings that env.json holds, in the order of time: before the sweep, before each part that
 * was resumed, after the sweep. Rows count against the largest, whoever builds them again.
 */
export function knownCeilings(environment: EnvironmentFile | null): Ceilings[] {
  if (environment === null) return [];
  const { ceilings, resumed = [], ceilings_after: after } = environment;
  return [ceilings, ...resumed.map((part) => part.ceilings), after]
    .map(storedCeilings)
    .filter((known) => known !== null);
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
  return a?.status === 'ok' && b?.status === 'ok' ? normalizeAA(a.samplesNs, b.samplesNs) : null;
}

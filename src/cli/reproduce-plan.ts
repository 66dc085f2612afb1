import { type Claim, type ClaimSweep, isBlocked } from '../claims/schema.js';
import { CATALOG } from '../core/catalog.js';
import { type BackendName, type Cell, SCOPES } from '../core/cell.js';
import type { ClaimScale } from '../core/claim.js';
import { InternalError } from '../core/errors.js';
import type { ModelShape } from '../core/model-shape.js';
import type { Exclusion, SweepPlan } from '../core/plan.js';
import type { Row } from '../core/row.js';
import { loadModel } from '../models/load.js';
import { expandSweep, type SweepRequest } from '../plan/expand.js';
import { mergeCells } from '../plan/merge-cells.js';
import { parseSweepConfig } from '../plan/schema.js';
import { densitySources } from './density-sources.js';

/** What decides the cells beyond the claims themselves. */
export interface ReproduceSettings {
  readonly scale: ClaimScale;
  readonly backend: BackendName;
  readonly device: number;
  readonly threads: number | null;
  /** Seconds of sampling per cell; null: the backend's default at full scale, SMALL_MAX_TIME_S at small */
  readonly maxTimeS: number | null;
}

/** What one claim measures. */
export interface PlannedClaim {
  readonly claim: Claim;
  readonly cells: readonly Cell[];
  readonly models: readonly ModelShape[];
  /** Why nothing of it can be planned; null: it is */
  readonly unavailable: string | null;
}

export interface ReproducePlan {
  readonly claims: readonly PlannedClaim[];
  /** The union of what the claims need, each cell once */
  readonly plan: SweepPlan;
}

/** Enough for ten rounds of the largest small cell, few enough for all of them to end within minutes. */
const SMALL_MAX_TIME_S = 2;
/** Per cent: two shared cores scatter by that much anyway */
const SMALL_MAX_NOISE = 3;

/** A scope without any kernel on the backend; null when all have some. */
function missingScope(sweep: ClaimSweep, backend: BackendName): string | null {
  const scopes = (sweep['scopes'] ?? []) as readonly string[];
  const has = (scope: string): boolean =>
    (SCOPES as readonly string[]).includes(scope) &&
    CATALOG.some((k) => k.scope === scope && k.backends.includes(backend));
  return scopes.find((scope) => !has(scope)) ?? null;
}

function expand(sweep: ClaimSweep, settings: ReproduceSettings): SweepPlan {
  const {
    models,
    backend: _backend,
    mlpTopk: _mlpTopk,
    ...config
  } = parseSweepConfig(JSON.stringify(sweep), 'a claim');
  const small = settings.scale === 'small';
  const request: SweepRequest = {
    maxTimeS: settings.maxTimeS ?? (small ? SMALL_MAX_TIME_S : undefined),
    maxNoisePercent: small ? SMALL_MAX_NOISE : undefined,
    threads: settings.threads ?? undefined,
    ...config,
    models: (models ?? []).map((name) => loadModel(name)),
    backend: settings.backend,
    device: settings.device,
  };
  return expandSweep(request, densitySources(null));
}

function planClaim(claim: Claim, settings: ReproduceSettings): { planned: PlannedClaim; plans: SweepPlan[] } {
  const nothing = { claim, cells: [], models: [] };
  if (isBlocked(claim)) return { planned: { ...nothing, unavailable: null }, plans: [] };
  const { sweeps } = claim.scales[settings.scale];
  const gap = sweeps.map((sweep) => missingScope(sweep, settings.backend)).find((scope) => scope !== null);
  if (gap !== undefined && gap !== null) {
    const unavailable = `backend ${settings.backend} has no kernel of scope ${gap}`;
    return { planned: { ...nothing, unavailable }, plans: [] };
  }
  const plans = sweeps.map((sweep) => expand(sweep, settings));
  const cells = plans.flatMap((plan) => plan.cells);
  const models = [...new Map(cells.map((c) => [c.model.name, c.model])).values()];
  return { planned: { claim, cells, models, unavailable: null }, plans };
}

/** An empty plan needs sampling settings too; they are those of any expansion. */
function samplingOf(settings: ReproduceSettings): SweepPlan {
  return expand(
    { models: ['tiny-opt'], scopes: ['attention'], batch: 1, seq: 64, head_density: 0.5 },
    settings,
  );
}

/**
 * Plans the union of what the claims need.
 * @param claims in the order of their verdicts
 * @throws InternalError when a shipped claim cannot be planned
 */
export function planReproduce(claims: readonly Claim[], settings: ReproduceSettings): ReproducePlan {
  const all = claims.map((claim) => {
    try {
      return planClaim(claim, settings);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new InternalError(`Expected a sweep that can be planned for claim ${claim.id}, got: ${why}`, {
        cause,
      });
    }
  });
  const plans = all.flatMap(({ plans: own }) => own);
  const { sampling, threads } = samplingOf(settings);
  const exclusions = new Map<string, Exclusion>();
  for (const e of plans.flatMap((p) => p.exclusions)) exclusions.set(JSON.stringify(e), e);
  return {
    claims: all.map(({ planned }) => planned),
    plan: {
      cells: mergeCells(plans.flatMap((p) => p.cells)),
      exclusions: [...exclusions.values()],
      sampling,
      threads,
      breakdown: plans.some((p) => p.breakdown),
    },
  };
}

const rowKey = (parts: readonly (string | number | null)[]): string => parts.join('|');

/** Which rows belong to a claim: those of its own cells and candidates, whatever else was measured beside them. */
export function rowFilter({ cells }: PlannedClaim): (row: Row) => boolean {
  const keys = new Set(
    cells.flatMap((cell) =>
      cell.candidates.map((c) =>
        rowKey([cell.model.name, cell.batchSize, cell.kvLen, c.kernel, c.activeHeads, c.activeNeurons]),
      ),
    ),
  );
  return (row) =>
    keys.has(
      rowKey([row.model, row.batch_size, row.kv_len, row.kernel, row.active_heads, row.active_neurons]),
    );
}

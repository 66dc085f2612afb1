import { activeCount } from '../core/cell.js';
import type { ClaimAxis, ClaimPoint, StepShare } from '../core/claim.js';
import { groupSize, type ModelShape } from '../core/model-shape.js';
import type { Row } from '../core/row.js';
import type { Interval } from '../core/summary.js';
import type { MeasuredClaim, Quantity, ScaleSpec } from './schema.js';

/** A row and where it stands in rows.csv, 1 = header. */
export interface NumberedRow {
  readonly row: Row;
  readonly line: number;
}

/** What a claim has to be decided from. */
export interface ClaimData {
  /** The rows that the claim's own sweeps plan, of one run */
  readonly rows: readonly NumberedRow[];
  readonly breakdown: readonly StepShare[];
  /** The shape of every model in rows */
  readonly models: readonly ModelShape[];
}

type Found = { readonly row: Row; readonly line: number } | { readonly missing: string };
type Value = Omit<ClaimPoint, 'x' | 'paper'>;

const SLOW_BASELINE = 'attention/dense-per-query-head';

const missing = (reason: string, rows: readonly number[] = []): Value => ({
  value: null,
  interval: null,
  bound: null,
  rows,
  reason,
});

const sameCell = (a: Row, b: Row): boolean =>
  a.model === b.model && a.scope === b.scope && a.batch_size === b.batch_size && a.kv_len === b.kv_len;

function atPlace(row: Row, axis: ClaimAxis, x: number, models: readonly ModelShape[]): boolean {
  if (axis === 'batch') return row.batch_size === x;
  if (axis === 'kv_len') return row.kv_len === x;
  const model = models.find((m) => m.name === row.model);
  if (model === undefined) return false;
  return row.active_neurons === null
    ? row.active_heads === activeCount(x, model.numKvHeads) * groupSize(model)
    : row.active_neurons === activeCount(x, model.intermediateSize);
}

const isFastestDense = (row: Row): boolean =>
  row.baseline_kernel !== null && row.kernel === row.baseline_kernel;

/** @param kernel id, or a scope for its fastest dense kernel */
function find(data: ClaimData, claim: MeasuredClaim, kernel: string, x: number): Found {
  const named = kernel.includes('/');
  const there = data.rows.filter(
    ({ row }) =>
      (named ? row.kernel === kernel : row.scope === kernel && row.variant === 'dense') &&
      atPlace(row, claim.axis, x, data.models),
  );
  const best = named ? there[0] : (there.find(({ row }) => isFastestDense(row)) ?? there[0]);
  const what = named ? kernel : `${kernel}/dense`;
  if (best === undefined) return { missing: `${what} was not measured` };
  const { row } = best;
  return row.status === 'ok'
    ? best
    : { missing: `${what} is ${row.status}: ${row.reason ?? 'no reason given'}` };
}

function speedup(data: ClaimData, found: Found): Value {
  if ('missing' in found) return missing(found.missing);
  const { row, line } = found;
  const base = data.rows.find((r) => sameCell(r.row, row) && r.row.kernel === row.baseline_kernel);
  if (row.speedup === null || base === undefined) return missing('no dense kernel of the cell is ok', [line]);
  return {
    value: row.speedup,
    interval: interval(row.speedup_ci_low, row.speedup_ci_high),
    bound: ratio(base.row.bound_us, row.bound_us),
    rows: [line, base.line],
    reason: null,
  };
}

function latency(found: Found): Value {
  if ('missing' in found) return missing(found.missing);
  const { row, line } = found;
  return {
    value: row.latency_us_median,
    interval: interval(row.latency_us_ci_low, row.latency_us_ci_high),
    bound: row.bound_us,
    rows: [line],
    reason: null,
  };
}

/** The interval holds for every pair of values within theirs: the two need not come from the same rounds. */
function latencyRatio(top: Found, bottom: Found): Value {
  const [a, b] = [latency(top), latency(bottom)];
  const reason = a.reason ?? b.reason;
  if (reason !== null) return missing(reason, [...a.rows, ...b.rows]);
  const low = ratio(a.interval?.low ?? null, b.interval?.high ?? null);
  const high = ratio(a.interval?.high ?? null, b.interval?.low ?? null);
  return {
    value: ratio(a.value, b.value),
    interval: interval(low, high),
    bound: ratio(a.bound, b.bound),
    rows: [...new Set([...a.rows, ...b.rows])],
    reason: null,
  };
}

function share(data: ClaimData, found: Found, quantity: Extract<Quantity, { kind: 'share' }>): Value {
  if ('missing' in found) return missing(found.missing);
  const { row, line } = found;
  const part = data.breakdown.find(
    (b) =>
      b.kernel === row.kernel &&
      b.module === quantity.module &&
      b.model === row.model &&
      b.batch_size === row.batch_size &&
      b.kv_len === row.kv_len,
  );
  if (part === undefined) return missing(`no share of ${quantity.module} in breakdown.csv`, [line]);
  return { value: 100 * part.share, interval: null, bound: null, rows: [line], reason: null };
}

function valueAt(claim: MeasuredClaim, data: ClaimData, x: number, lastX: number): Value {
  const { quantity } = claim;
  const of = (kernel: string): Found => find(data, claim, kernel, x);
  switch (quantity.kind) {
    case 'speedup':
      return speedup(data, of(quantity.kernel));
    case 'relative-latency':
      return latencyRatio(of(quantity.kernel), find(data, claim, quantity.kernel, lastX));
    case 'ratio':
      return latencyRatio(of(quantity.top), of(quantity.bottom));
    case 'share':
      return share(data, of(quantity.kernel), quantity);
  }
}

/**
 * The series of a claim, one point per x, ascending. The paper's values stand beside them where the same thing was
 * measured: at full scale, and wherever the axis is a density.
 */
export function seriesOf(
  claim: MeasuredClaim,
  spec: ScaleSpec,
  full: boolean,
  data: ClaimData,
): ClaimPoint[] {
  return spec.x.map((x) => ({
    ...valueAt(claim, data, x, spec.x.at(-1) ?? x),
    x,
    paper: full || claim.axis === 'density' ? (claim.paper.find((p) => p.x === x)?.value ?? null) : null,
  }));
}

/**
 * The speedup with the slow dense attention, which streams a group's cache once per query head as the paper's baseline
 * does, in place of the fastest. For a decode step the difference of the two dense attention kernels is added to the
 * dense step once per layer.
 *
 * @param at where the claim reads its number
 * @returns null where the model has no such kernel or it was not measured
 */
export function slowBaselineRatio(claim: MeasuredClaim, at: number, data: ClaimData): number | null {
  if (claim.quantity.kind !== 'speedup') return null;
  const found = find(data, claim, claim.quantity.kernel, at);
  if ('missing' in found) return null;
  const { row } = found;
  const ownUs = row.latency_us_median;
  const attention = data.rows
    .map((r) => r.row)
    .filter((r) => r.scope === 'attention' && r.batch_size === row.batch_size && r.kv_len === row.kv_len);
  const slow = attention.find((r) => r.kernel === SLOW_BASELINE)?.latency_us_median ?? null;
  if (slow === null || ownUs === null) return null;
  if (row.scope === 'attention') return slow / ownUs;
  const fast = attention.find(isFastestDense)?.latency_us_median ?? null;
  const dense = data.rows.find((r) => sameCell(r.row, row) && r.row.kernel === row.baseline_kernel);
  const layers = data.models.find((m) => m.name === row.model)?.numLayers;
  const denseUs = dense?.row.latency_us_median ?? null;
  if (fast === null || denseUs === null || layers === undefined) return null;
  return (denseUs + layers * (slow - fast)) / ownUs;
}

function interval(low: number | null, high: number | null): Interval | null {
  return low === null || high === null ? null : { low, high };
}

function ratio(top: number | null, bottom: number | null): number | null {
  return top === null || bottom === null ? null : top / bottom;
}

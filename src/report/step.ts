import type { ModelShape } from '../core/model-shape.js';
import type { CandidateOutcome, CellRecord, StepPart } from '../core/outcome.js';
import { NS_PER_US } from '../core/units.js';

/** Parts of a step and the step itself are two measurements; beyond this share they do not belong together. */
const SUM_TOLERANCE = 0.03;

export const sumOf = (parts: readonly StepPart[]): number => parts.reduce((sum, part) => sum + part.ns, 0);

/**
 * What to know before quoting the row of a step.
 * @param latency of the candidate; null where it has none
 */
export function stepWarnings(
  model: ModelShape,
  outcome: CandidateOutcome | undefined,
  latency: { readonly medianNs: number } | null,
): string[] {
  if (outcome?.status !== 'ok') return [];
  const warnings: string[] = [];
  const { residentLayers, parts } = outcome;
  if (residentLayers !== null && residentLayers < model.numLayers) {
    const layers = `${residentLayers} resident ${residentLayers === 1 ? 'layer' : 'layers'}`;
    warnings.push(`single-device sum over ${model.numLayers} layers, ${layers} cycled`);
  }
  if (parts !== null && latency !== null) {
    const share = sumOf(parts) / latency.medianNs;
    if (Math.abs(share - 1) > SUM_TOLERANCE) {
      warnings.push(`the parts sum to ${(100 * share).toFixed(1)} % of the step`);
    }
  }
  return warnings;
}

/** One line of breakdown.csv. */
export interface BreakdownRow {
  readonly schema_version: number;
  readonly run_id: string;
  readonly model: string;
  readonly batch_size: number;
  readonly kv_len: number | null;
  readonly variant: string;
  readonly kernel: string;
  readonly module: string;
  readonly latency_us: number;
  readonly share: number;
  readonly active_heads: number | null;
  readonly active_neurons: number | null;
}

export const BREAKDOWN_SCHEMA_VERSION = 1;

/** In the order of the file; the type makes a missing or unknown column a compile error. */
const MEANING: Readonly<Record<keyof BreakdownRow, readonly [unit: string, meaning: string]>> = {
  schema_version: ['', 'Version of this list of columns.'],
  run_id: ['', 'As in rows.csv.'],
  model: ['', 'As in rows.csv.'],
  batch_size: ['sequences', 'As in rows.csv.'],
  kv_len: ['positions', 'As in rows.csv.'],
  variant: ['', 'As in rows.csv.'],
  kernel: ['', 'As in rows.csv.'],
  module: [
    '',
    '`attention`, `qkv`, `out-proj`, `mlp`, `routers` or `other` (norms, residuals, head, token).',
  ],
  latency_us: ['us', 'Time of the part in one step, summed over all layers, measured inside the step.'],
  share: ['fraction', '`latency_us` over the sum of all parts of the row, 0 to 1.'],
  active_heads: ['heads', 'As in rows.csv: tells rows of one kernel at several densities apart.'],
  active_neurons: ['neurons', 'As in rows.csv.'],
};

export const BREAKDOWN_HEADERS = Object.keys(MEANING) as (keyof BreakdownRow)[];

/** The columns of breakdown.csv for docs/columns.md: header, unit, meaning. */
export const BREAKDOWN_COLUMNS: readonly (readonly [string, string, string])[] = Object.entries(MEANING).map(
  ([header, [unit, meaning]]) => [header, unit, meaning],
);

/** The parts of every candidate of a cell that has them, in the order of the candidates; empty where none was measured. */
export function breakdownRows({ cell, outcome }: CellRecord, runId: string): BreakdownRow[] {
  return outcome.candidates.flatMap((result, i): BreakdownRow[] => {
    const candidate = cell.candidates[i];
    if (result.status !== 'ok' || result.parts === null || candidate === undefined) return [];
    const total = sumOf(result.parts);
    return result.parts.map(({ name, ns }) => ({
      schema_version: BREAKDOWN_SCHEMA_VERSION,
      run_id: runId,
      model: cell.model.name,
      batch_size: cell.batchSize,
      kv_len: cell.kvLen,
      variant: candidate.variant,
      kernel: candidate.kernel,
      module: name,
      latency_us: ns / NS_PER_US,
      share: ns / total,
      active_heads: candidate.activeHeads,
      active_neurons: candidate.activeNeurons,
    }));
  });
}

import { kernelsFor, type Kernel } from '../core/catalog.js';
import { activeCount, type BackendName, type Candidate, type Scope, type Variant } from '../core/cell.js';
import { PlanError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { groupSize, type ModelShape } from '../core/model-shape.js';
import type { Exclusion } from '../core/plan.js';
import { defaultHeadDensity, type ChosenDensity, type MlpDensityFor } from './defaults.js';

/** Active neurons of a model at a batch size from a top-k table; null where the table has no entry. */
export type MlpNeuronsFor = (
  model: ModelShape,
  batchSize: number,
) => { readonly activeNeurons: number; readonly source: string } | null;

/** What decides the candidates of a cell. */
export interface CandidateRules {
  readonly backend: BackendName;
  readonly variants: readonly Variant[];
  /** As asked for; null: the model's default. */
  readonly headDensities: readonly number[] | null;
  readonly mlpDensities: readonly number[] | 'union' | null;
  readonly mlpDensityFor: MlpDensityFor;
  readonly mlpNeuronsFor: MlpNeuronsFor | null;
}

/** How many of a model's heads or neurons a sparse kernel computes. */
interface Selection {
  readonly active: number;
  readonly total: number;
  readonly source: string;
  /** Asked for by the user: then selecting everything is what they get. */
  readonly asked: boolean;
}

/**
 * The candidates of one cell, in the order of the catalog, densities ascending.
 * @param model shape
 * @param scope scope
 * @param batchSize B; the MLP density may depend on it
 * @param rules variants and densities
 * @returns candidates, and what a default density excluded
 * @throws PlanError when a density that was asked for cannot be met
 */
export function candidatesFor(
  model: ModelShape,
  scope: Scope,
  batchSize: number,
  rules: CandidateRules,
): { candidates: Candidate[]; exclusions: Exclusion[] } {
  const candidates: Candidate[] = [];
  const exclusions = new Map<Variant, Exclusion>();
  for (const kernel of kernelsFor(scope, rules.backend, rules.variants, model)) {
    if (kernel.selects === null) {
      candidates.push(denseCandidate(model, kernel));
      continue;
    }
    const selections =
      kernel.selects === 'heads' ? headSelections(model, rules) : neuronSelections(model, batchSize, rules);
    const seen = new Set<number>();
    for (const selection of selections) {
      if (!selection.asked && selection.active === selection.total) {
        const reason = everythingSelected(kernel, selection);
        exclusions.set(kernel.variant, { model: model.name, scope, variant: kernel.variant, reason });
      } else if (!seen.has(selection.active)) {
        // 0.5 and 0.55 of eight groups are the same four: one row, not two.
        seen.add(selection.active);
        candidates.push(sparseCandidate(model, kernel, selection));
      }
    }
  }
  return { candidates, exclusions: [...exclusions.values()] };
}

function denseCandidate(model: ModelShape, kernel: Kernel): Candidate {
  const attention = kernel.scope === 'attention';
  return {
    kernel: kernel.id,
    variant: kernel.variant,
    activeHeads: attention ? model.numQoHeads : null,
    activeNeurons: attention ? null : model.intermediateSize,
    densitySource: 'dense',
  };
}

function sparseCandidate(model: ModelShape, kernel: Kernel, selection: Selection): Candidate {
  const heads = kernel.selects === 'heads';
  return {
    kernel: kernel.id,
    variant: kernel.variant,
    activeHeads: heads ? selection.active * groupSize(model) : null,
    activeNeurons: heads ? null : selection.active,
    densitySource: selection.source,
  };
}

function headSelections(model: ModelShape, rules: CandidateRules): Selection[] {
  const total = model.numKvHeads;
  if (rules.headDensities === null) return [byDefault(defaultHeadDensity(model), total)];
  const unit = (model.numQoHeads > total ? 'KV group' : 'head') + (total === 1 ? '' : 's');
  return rules.headDensities.map((density) =>
    asAsked(density, total, '--head-density', `${total} ${unit}`, model),
  );
}

function neuronSelections(model: ModelShape, batchSize: number, rules: CandidateRules): Selection[] {
  const total = model.intermediateSize;
  if (rules.mlpNeuronsFor !== null) return [fromTopK(model, batchSize, rules.mlpNeuronsFor)];
  if (rules.mlpDensities === null) return [byDefault(rules.mlpDensityFor(model, batchSize), total)];
  if (rules.mlpDensities === 'union') {
    const chosen = rules.mlpDensityFor(model, batchSize);
    if (!chosen.source.startsWith('published:')) {
      throw new PlanError(`Expected a published union curve for model ${quoted(model.name)}, got none`, {
        hint: 'Give a number with --mlp-density, or choose a model with a curve.',
      });
    }
    return [{ ...byDefault(chosen, total), asked: true }];
  }
  return rules.mlpDensities.map((density) =>
    asAsked(density, total, '--mlp-density', `${total} neurons`, model),
  );
}

function byDefault(chosen: ChosenDensity, total: number): Selection {
  return { active: activeCount(chosen.density, total), total, source: chosen.source, asked: false };
}

function asAsked(density: number, total: number, flag: string, of: string, model: ModelShape): Selection {
  const active = activeCount(density, total);
  // One group cannot be halved; measuring all of them under the name 0.5 would be a lie.
  if (active === total && density < 1) {
    throw new PlanError(`Expected a density that ${of} can meet for ${flag}, got ${density}`, {
      hint: `${quoted(model.name)} would compute everything; use density 1, or leave the sparse variant out.`,
    });
  }
  return { active, total, source: 'flag', asked: true };
}

function fromTopK(model: ModelShape, batchSize: number, lookup: MlpNeuronsFor): Selection {
  const total = model.intermediateSize;
  const found = lookup(model, batchSize);
  if (found === null) {
    throw new PlanError(`Expected an entry of batch size ${batchSize} for --mlp-topk, got none`, {
      hint: 'The table must hold every batch size of the sweep.',
    });
  }
  const { activeNeurons } = found;
  if (!Number.isInteger(activeNeurons) || activeNeurons < 1 || activeNeurons > total) {
    throw new PlanError(`Expected 1 to ${total} neurons for --mlp-topk, got ${activeNeurons}`, {
      hint: `The table must belong to ${quoted(model.name)}.`,
    });
  }
  return { active: activeNeurons, total, source: found.source, asked: true };
}

function everythingSelected(kernel: Kernel, selection: Selection): string {
  const what = kernel.selects === 'heads' ? 'KV group' : 'neuron';
  const all = selection.total === 1 ? `the only ${what}` : `all ${selection.total} ${what}s`;
  return `the default density selects ${all}, so it would be the dense kernel again (density_source ${selection.source})`;
}

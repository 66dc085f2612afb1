import { kernelsFor, type Kernel } from '../core/catalog.js';
import { isLayerScope, type BackendName, type Candidate, type Scope, type Variant } from '../core/cell.js';
import { groupSize, type ModelShape } from '../core/model-shape.js';
import type { Exclusion } from '../core/plan.js';
import type { DensityRules } from './defaults.js';
import { headSelections, neuronSelections, type Selection } from './selections.js';

/** What decides the candidates of a cell. */
export interface CandidateRules extends DensityRules {
  readonly backend: BackendName;
  readonly variants: readonly Variant[];
}

/** What one candidate of a sparse kernel computes; null where the kernel does not select. */
interface Choice {
  readonly heads: Selection | null;
  readonly neurons: Selection | null;
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
  const exclude = (variant: Variant, reason: string): void => {
    exclusions.set(variant, { model: model.name, scope, variant, reason });
  };
  const variants = variantsOf(model, scope, batchSize, rules, exclude);
  for (const kernel of kernelsFor(scope, rules.backend, variants, model)) {
    const seen = new Set<string>();
    for (const choice of choicesOf(model, kernel, batchSize, rules)) {
      const everything = everythingSelected(kernel, choice);
      const candidate = candidateOf(model, kernel, choice);
      // 0.5 and 0.55 of eight groups are the same four: one row, not two.
      const counts = JSON.stringify([
        candidate.activeHeads,
        candidate.activeNeurons,
        choice.neurons?.perLayer,
      ]);
      if (everything !== null) exclude(kernel.variant, everything);
      else if (!seen.has(counts)) candidates.push(candidate);
      seen.add(counts);
    }
  }
  return { candidates, exclusions: [...exclusions.values()] };
}

/**
 * The variants of a scope. A gated MLP without a density stays dense in a layer: then mlp-sparse is nothing, and polar
 * is head-sparse, which is measured under that name instead of twice.
 */
function variantsOf(
  model: ModelShape,
  scope: Scope,
  batchSize: number,
  rules: CandidateRules,
  exclude: (variant: Variant, reason: string) => void,
): readonly Variant[] {
  const { variants } = rules;
  const wanted = variants.filter((v) => v === 'mlp-sparse' || v === 'polar');
  if (!isLayerScope(scope) || wanted.length === 0) return variants;
  if (neuronSelections(model, scope, batchSize, rules).length > 0) return variants;
  const dense = 'a gated MLP stays dense unless --mlp-density or --mlp-topk is given';
  for (const variant of wanted) {
    exclude(variant, variant === 'polar' ? `${dense}: polar is then head-sparse, measured as that` : dense);
  }
  const kept = variants.filter((v) => v !== 'mlp-sparse' && v !== 'polar');
  return wanted.includes('polar') && !kept.includes('head-sparse') ? [...kept, 'head-sparse'] : kept;
}

/** Every combination of the densities that the kernel selects by. */
function choicesOf(model: ModelShape, kernel: Kernel, batchSize: number, rules: CandidateRules): Choice[] {
  const { selects } = kernel;
  const none: readonly (Selection | null)[] = [null];
  const heads = selects === 'heads' || selects === 'both' ? headSelections(model, rules) : none;
  const neurons =
    selects === 'neurons' || selects === 'both'
      ? neuronSelections(model, kernel.scope, batchSize, rules)
      : none;
  return heads.flatMap((h) => neurons.map((n) => ({ heads: h, neurons: n })));
}

function candidateOf(model: ModelShape, kernel: Kernel, { heads, neurons }: Choice): Candidate {
  const { scope } = kernel;
  const whole = isLayerScope(scope);
  const allHeads = scope === 'attention' || whole ? model.numQoHeads : null;
  const allNeurons = whole || (scope !== 'attention' && scope !== 'router') ? model.intermediateSize : null;
  const sources = [heads?.source, neurons?.source].filter((s) => s !== undefined);
  return {
    kernel: kernel.id,
    variant: kernel.variant,
    activeHeads: heads === null ? allHeads : heads.active * groupSize(model),
    activeNeurons: neurons === null ? allNeurons : neurons.active,
    layerActiveNeurons: neurons?.perLayer ?? null,
    densitySource: sources.length === 0 ? 'dense' : [...new Set(sources)].join('; '),
  };
}

/** Why a default density makes the candidate dense again; null where it does not, or where that was asked for. */
function everythingSelected(kernel: Kernel, { heads, neurons }: Choice): string | null {
  for (const [selection, what] of [
    [heads, 'KV group'],
    [neurons, 'neuron'],
  ] as const) {
    if (selection === null || selection.asked || selection.active < selection.total) continue;
    const all = selection.total === 1 ? `the only ${what}` : `all ${selection.total} ${what}s`;
    const again =
      kernel.selects === 'both' ? 'that part would be dense again' : 'it would be the dense kernel again';
    return `the default density selects ${all}, so ${again} (density_source ${selection.source})`;
  }
  return null;
}

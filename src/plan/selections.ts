import { activeCount, isLayerScope, type Scope } from '../core/cell.js';
import { PlanError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import { defaultHeadDensity, type ChosenDensity, type DensityRules } from './defaults.js';

/** How many of a model's heads (KV groups) or neurons a sparse kernel computes. */
export interface Selection {
  readonly active: number;
  readonly total: number;
  /** Neurons of each layer where layers differ; else null. */
  readonly perLayer: readonly number[] | null;
  readonly source: string;
  /** Asked for by the user: then selecting everything is what they get. */
  readonly asked: boolean;
}

/**
 * KV groups that sparse attention computes, one selection per density.
 * @throws PlanError when a density that was asked for cannot be met
 */
export function headSelections(model: ModelShape, rules: DensityRules): Selection[] {
  const total = model.numKvHeads;
  if (rules.headDensities === null) return [byDefault(defaultHeadDensity(model), total)];
  const unit = (model.numQoHeads > total ? 'KV group' : 'head') + (total === 1 ? '' : 's');
  return rules.headDensities.map((density) =>
    asAsked(density, total, '--head-density', `${total} ${unit}`, model),
  );
}

/**
 * Neurons that sparse MLPs compute, one selection per density: in scope step each layer has its own where a curve or a
 * table says so, elsewhere the mean over layers stands for all.
 * @returns empty where nothing is known: a layer or step of a gated model without a density of its own
 * @throws PlanError when a density that was asked for cannot be met, or a curve or table does not have it
 */
export function neuronSelections(
  model: ModelShape,
  scope: Scope,
  batchSize: number,
  rules: DensityRules,
): Selection[] {
  const total = model.intermediateSize;
  if (rules.mlpNeuronsFor !== null) return [fromTopK(model, scope, batchSize, rules)];
  if (rules.mlpDensities === null) {
    if (isLayerScope(scope)) return defaultOfLayers(model, scope, batchSize, rules);
    return [byDefault(rules.mlpDensityFor(model, batchSize), total)];
  }
  if (rules.mlpDensities === 'union') return [fromUnion(model, scope, batchSize, rules)];
  return rules.mlpDensities.map((density) =>
    asAsked(density, total, '--mlp-density', `${total} neurons`, model),
  );
}

/** In layer and step: the authors' router where it is published, else the model's own; a gated MLP stays dense. */
function defaultOfLayers(
  model: ModelShape,
  scope: Scope,
  batchSize: number,
  rules: DensityRules,
): Selection[] {
  const layers = rules.mlpLayerDensitiesFor(model, batchSize, 'router');
  if (layers !== null && !model.gated) {
    return [ofLayers(model, scope, { ...layers, asked: false })];
  }
  if (model.gated && model.defaultMlpDensity === null) return [];
  return [byDefault(rules.mlpDensityFor(model, batchSize), model.intermediateSize)];
}

function fromUnion(model: ModelShape, scope: Scope, batchSize: number, rules: DensityRules): Selection {
  const layers = isLayerScope(scope) ? rules.mlpLayerDensitiesFor(model, batchSize, 'union') : null;
  if (layers !== null) return ofLayers(model, scope, { ...layers, asked: true });
  const chosen = rules.mlpDensityFor(model, batchSize);
  if (chosen.source.startsWith('published:')) {
    return { ...byDefault(chosen, model.intermediateSize), asked: true };
  }
  throw new PlanError(`Expected a published union curve for model ${quoted(model.name)}, got none`, {
    hint: 'Give a number with --mlp-density, or choose a model with a curve.',
  });
}

/** Densities of all layers: as they are in a step, their mean in one layer. */
function ofLayers(
  model: ModelShape,
  scope: Scope,
  layers: { readonly densities: readonly number[]; readonly source: string; readonly asked: boolean },
): Selection {
  const { source, asked } = layers;
  const total = model.intermediateSize;
  const perLayer = layers.densities.map((density) => activeCount(density, total));
  return { ...countsOf(perLayer, scope), total, source, asked };
}

/** One count where all layers have the same, or where the scope has one layer only. */
function countsOf(perLayer: readonly number[], scope: Scope): Pick<Selection, 'active' | 'perLayer'> {
  const active = Math.max(1, Math.round(perLayer.reduce((a, b) => a + b, 0) / perLayer.length));
  const alike = perLayer.every((count) => count === active);
  return { active, perLayer: scope === 'step' && !alike ? perLayer : null };
}

function byDefault(chosen: ChosenDensity, total: number): Selection {
  const active = activeCount(chosen.density, total);
  return { active, total, perLayer: null, source: chosen.source, asked: false };
}

function asAsked(density: number, total: number, flag: string, of: string, model: ModelShape): Selection {
  const active = activeCount(density, total);
  // One group cannot be halved; measuring all of them under the name 0.5 would be a lie.
  if (active === total && density < 1) {
    throw new PlanError(`Expected a density that ${of} can meet for ${flag}, got ${density}`, {
      hint: `${quoted(model.name)} would compute everything; use density 1, or leave the sparse variant out.`,
    });
  }
  return { active, total, perLayer: null, source: 'flag', asked: true };
}

function fromTopK(model: ModelShape, scope: Scope, batchSize: number, rules: DensityRules): Selection {
  const total = model.intermediateSize;
  const found = rules.mlpNeuronsFor?.(model, batchSize) ?? null;
  if (found === null) {
    throw new PlanError(`Expected an entry of batch size ${batchSize} for --mlp-topk, got none`, {
      hint: 'The table must hold every batch size of the sweep.',
    });
  }
  const { activeNeurons, layerActiveNeurons, source } = found;
  for (const count of [activeNeurons, ...layerActiveNeurons]) {
    if (!Number.isInteger(count) || count < 1 || count > total) {
      throw new PlanError(`Expected 1 to ${total} neurons for --mlp-topk, got ${count}`, {
        hint: `The table must belong to ${quoted(model.name)}.`,
      });
    }
  }
  const perLayer = countsOf(layerActiveNeurons, scope).perLayer;
  return { active: activeNeurons, perLayer, total, source, asked: true };
}

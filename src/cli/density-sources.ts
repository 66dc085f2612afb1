import { defaultMlpDensity, type MlpDensityFor, type MlpLayerDensitiesFor } from '../plan/defaults.js';
import type { PlanInputs } from '../plan/expand.js';
import { layerMlpDensitiesFor, mlpDensityFor } from '../traces/mlp-density.js';
import { loadTopkTable, topkNeuronsFor } from '../traces/topk-table.js';

/**
 * Where a sweep takes its MLP density from: a top-k table where one is named, else the model's published union curve at
 * the batch size, else the model's own default.
 *
 * @param mlpTopk file or folder of `layer,batch_size,optimal_k`; null: none
 * @throws TraceError when the table cannot be read
 */
export function densitySources(mlpTopk: string | null): PlanInputs {
  const published: MlpDensityFor = (model, batchSize) =>
    mlpDensityFor(model, batchSize) ?? defaultMlpDensity(model, batchSize);
  const ofLayers: MlpLayerDensitiesFor = (model, batchSize, kind) =>
    layerMlpDensitiesFor(model, batchSize, kind);
  if (mlpTopk === null) return { mlpDensityFor: published, mlpLayerDensitiesFor: ofLayers };
  const table = loadTopkTable(mlpTopk);
  return {
    mlpDensityFor: published,
    mlpLayerDensitiesFor: ofLayers,
    mlpNeuronsFor: (model, batchSize) => topkNeuronsFor(table, model, batchSize),
  };
}

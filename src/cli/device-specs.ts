import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

import type { Variant } from '../core/cell.js';
import { UsageError } from '../core/errors.js';
import { configError, parseJsonObject, quoted, valueAt } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import { didYouMean } from '../core/nearest.js';
import type { Row } from '../core/row.js';
import { DEFAULT_MLP_DENSITY, defaultHeadDensity } from '../plan/defaults.js';
import { type DeviceSpec, type PolarMap, predictedPolarMap } from '../report/polar-map.js';
import type { StepDensities } from '../theory/decode-step.js';
import { layerMlpDensitiesFor } from '../traces/mlp-density.js';

/** Devices that are not at hand: configs/devices. */
const FOLDER = new URL('../../configs/devices/', import.meta.url);

const schema = z.strictObject({
  name: z.string().min(1),
  read_gb_per_s: z.number().gt(0),
  matrix_tflop_per_s: z.number().gt(0),
  source: z.string().min(1),
});

export function deviceSpecNames(): string[] {
  return readdirSync(fileURLToPath(FOLDER))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .toSorted();
}

/** @throws UsageError for a name without a file, ConfigError for a file that is not one */
export function deviceSpec(name: string): DeviceSpec {
  const known = deviceSpecNames();
  // Only names from the listing are opened: the text of a command line never becomes a path here.
  if (!known.includes(name)) {
    throw new UsageError(`Expected one of ${known.join(', ')} for --device-spec, got ${quoted(name)}`, {
      hint: didYouMean(name, known),
    });
  }
  const origin = `configs/devices/${name}.json`;
  const json = parseJsonObject(readFileSync(fileURLToPath(new URL(`${name}.json`, FOLDER)), 'utf8'), origin);
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path ?? [];
    throw configError(origin, path, issue?.message ?? 'a device', valueAt(json, path));
  }
  const { read_gb_per_s: readGbPerS, matrix_tflop_per_s: matrixTflopPerS, source } = parsed.data;
  return { name: parsed.data.name, readGbPerS, matrixTflopPerS, source };
}

/** Names separated by commas. @throws UsageError */
export function deviceSpecList(text: string | undefined): string[] {
  if (text === undefined) return [];
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  return names.map((name) => deviceSpec(name).name);
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** What a decode step of the model computes at a batch size: published densities, and a dense MLP for gated models. */
function densitiesAt(model: ModelShape, batchSize: number): StepDensities {
  const heads = defaultHeadDensity(model).density;
  const layers = model.gated ? null : layerMlpDensitiesFor(model, batchSize, 'router');
  if (layers !== null) return { heads, mlp: mean(layers.densities) };
  return { heads, mlp: model.defaultMlpDensity?.value ?? (model.gated ? null : DEFAULT_MLP_DENSITY) };
}

/** The one density of a kind that rows of a model were measured at; null where there are none or several. */
function onlyDensity(rows: readonly Row[], variant: Variant, of: (row: Row) => number | null): number | null {
  const densities = new Set(rows.filter((row) => row.variant === variant).map(of));
  const [only = null] = densities;
  return densities.size === 1 ? only : null;
}

/**
 * The predicted polar maps of some models on some devices.
 * @param rows measured ones: a model that they measure at one density is predicted at that, else at what is published
 */
export function predictedMaps(
  models: readonly ModelShape[],
  specs: readonly string[],
  rows: readonly Row[],
): PolarMap[] {
  const densities = new Map(
    models.map((model) => {
      const own = rows.filter((row) => row.model === model.name);
      const heads = onlyDensity(own, 'head-sparse', (row) => row.head_density);
      const mlp = onlyDensity(own, 'mlp-sparse', (row) => row.mlp_density);
      return [model, { heads, mlp }];
    }),
  );
  const at = (model: ModelShape, batchSize: number): StepDensities => {
    const published = densitiesAt(model, batchSize);
    const own = densities.get(model);
    return { heads: own?.heads ?? published.heads, mlp: own?.mlp ?? published.mlp };
  };
  return specs
    .map(deviceSpec)
    .flatMap((spec) => models.map((model) => predictedPolarMap(model, spec, (b) => at(model, b))));
}

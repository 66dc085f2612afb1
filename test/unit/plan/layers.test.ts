import { describe, expect, it } from 'vitest';
import { densitySources } from '../../../src/cli/density-sources.js';
import { cellKey } from '../../../src/core/cell.js';
import { PlanError } from '../../../src/core/errors.js';
import { loadModel } from '../../../src/models/load.js';
import { expandSweep, type PlanInputs, type SweepRequest } from '../../../src/plan/expand.js';

const tinyOpt = loadModel('tiny-opt');
const tinyLlama = loadModel('tiny-llama');
const llama2 = loadModel('llama-2-7b');
const opt66 = loadModel('opt-66b');

const plan = (change: Partial<SweepRequest>, inputs: PlanInputs = {}) =>
  expandSweep({ models: [tinyOpt], backend: 'cpu', batchSizes: [4], kvLens: [256], ...change }, inputs);
const step = (change: Partial<SweepRequest>, inputs?: PlanInputs) =>
  plan({ scopes: ['step'], ...change }, inputs);
const counts = (p: ReturnType<typeof plan>) =>
  p.cells[0]?.candidates.map((c) => [c.kernel, c.activeHeads, c.activeNeurons]);
/** Two layers, unlike; the union below what a router computes. */
const curve: PlanInputs = {
  mlpDensityFor: () => ({ density: 0.3, source: 'published:curve' }),
  mlpLayerDensitiesFor: (_, __, kind) => ({
    densities: kind === 'union' ? [0.25, 0.5] : [0.5, 1],
    source: `published:${kind}`,
  }),
};

describe('scope router', () => {
  it('is one cell per batch size, without a length, of the two routers', () => {
    const p = plan({ scopes: ['router'], batchSizes: [1, 8], kvLens: [64, 128] });
    expect(p.cells.map((c) => [c.batchSize, c.kvLen])).toEqual([
      [1, null],
      [8, null],
    ]);
    expect(counts(p)).toEqual([
      ['router/attention-topk', 2, null],
      ['router/mlp-topk', null, 512],
    ]);
  });
});

describe.each(['layer', 'step'] as const)('scope %s', (scope) => {
  it('is one cell per batch size and length, all four variants, whole where a variant does not select', () => {
    const p = plan({ scopes: [scope], batchSizes: [1, 4], kvLens: [64, 256] });
    expect(p.cells.map((c) => [c.scope, c.batchSize, c.kvLen])).toEqual([
      [scope, 1, 64],
      [scope, 1, 256],
      [scope, 4, 64],
      [scope, 4, 256],
    ]);
    expect(counts(p)).toEqual([
      [`${scope}/dense`, 4, 1024],
      [`${scope}/mlp-sparse`, 4, 512],
      [`${scope}/head-sparse`, 2, 1024],
      [`${scope}/polar`, 2, 512],
    ]);
    expect(p.exclusions).toEqual([]);
  });

  it('polar has every combination of the densities, each kernel only what it selects', () => {
    const p = plan({
      scopes: [scope],
      variants: ['head-sparse', 'polar'],
      headDensities: [0.25, 0.5],
      mlpDensities: [0.5, 1],
    });
    expect(counts(p)).toEqual([
      [`${scope}/head-sparse`, 1, 1024],
      [`${scope}/head-sparse`, 2, 1024],
      [`${scope}/polar`, 1, 512],
      [`${scope}/polar`, 1, 1024],
      [`${scope}/polar`, 2, 512],
      [`${scope}/polar`, 2, 1024],
    ]);
  });

  it('names where both densities come from', () => {
    const sources = plan({ scopes: [scope], headDensities: [0.5] }).cells[0]?.candidates.map(
      (c) => c.densitySource,
    );
    expect(sources).toEqual(['dense', 'default', 'flag', 'flag; default']);
  });

  it('excludes polar where the default selects every head', () => {
    const single = { ...tinyOpt, numQoHeads: 1, numKvHeads: 1 };
    const p = plan({ scopes: [scope], models: [single] });
    expect(p.cells[0]?.candidates.map((c) => c.variant)).toEqual(['dense', 'mlp-sparse']);
    expect(p.exclusions.map((e) => e.variant)).toEqual(['head-sparse', 'polar']);
    expect(p.exclusions[1]?.reason).toContain('that part would be dense again');
  });
});

describe('neurons of each layer', () => {
  const lists = (change: Partial<SweepRequest>, inputs: PlanInputs = curve) =>
    step({ variants: ['polar'], ...change }, inputs).cells[0]?.candidates.map((c) => [
      c.activeNeurons,
      c.layerActiveNeurons,
      c.densitySource,
    ]);

  it('are by default what the router of the authors computes', () => {
    expect(lists({})).toEqual([[768, [512, 1024], 'default; published:router']]);
  });

  it('are the unscaled curve with union', () => {
    expect(lists({ mlpDensities: 'union' })).toEqual([[384, [256, 512], 'default; published:union']]);
  });

  it('are all alike with a number, and then no list', () => {
    expect(lists({ mlpDensities: [0.25] })).toEqual([[256, null, 'default; flag']]);
  });

  it('are those of a top-k table', () => {
    const table = () => ({ activeNeurons: 77, layerActiveNeurons: [70, 84], source: 'topk:t.csv' });
    expect(lists({}, { mlpNeuronsFor: table })).toEqual([[77, [70, 84], 'default; topk:t.csv']]);
    const wrong = () => ({ activeNeurons: 77, layerActiveNeurons: [70, 1025], source: 'topk:t.csv' });
    expect(() => lists({}, { mlpNeuronsFor: wrong })).toThrow(/^Expected 1 to 1024 neurons .* got 1025/);
  });

  it('are their mean in scope layer, and of the curve alone in scope mlp', () => {
    const layer = plan({ scopes: ['layer'], variants: ['polar'] }, curve);
    expect(layer.cells[0]?.candidates[0]).toMatchObject({ activeNeurons: 768, layerActiveNeurons: null });
    const mlp = plan({ scopes: ['mlp'], variants: ['mlp-sparse'] }, curve);
    expect(mlp.cells[0]?.candidates[0]).toMatchObject({ activeNeurons: 307, layerActiveNeurons: null });
  });

  it('make cells of one mean and other lists two measurements', () => {
    const cell = step({ variants: ['polar'] }, curve).cells[0]!;
    const [polar] = cell.candidates;
    const swapped = { ...cell, candidates: [{ ...polar!, layerActiveNeurons: [1024, 512] }] };
    expect(cellKey(swapped)).not.toBe(cell.key);
    expect(cellKey(cell)).toBe(cell.key);
  });

  it('of OPT-66B at B = 64 have the mean of the published tables, growing over the layers', () => {
    const p = step({ models: [opt66], batchSizes: [64], variants: ['polar'] }, densitySources(null));
    const [polar] = p.cells[0]!.candidates;
    const list = polar?.layerActiveNeurons ?? [];
    expect(list).toHaveLength(64);
    expect((polar?.activeNeurons ?? 0) / 36_864).toBeCloseTo(0.49, 3);
    expect(Math.min(...list)).toBeLessThan(0.1 * 36_864);
    expect(Math.max(...list)).toBeLessThanOrEqual(36_864);
    expect(polar?.densitySource).toMatch(/^critical:.*; published:.*scaled to mean 0.49/);
  });
});

describe('a gated MLP without a density', () => {
  it('stays dense: mlp-sparse is left out, polar is measured as head-sparse, once', () => {
    const p = step({ models: [llama2] });
    expect(p.cells[0]?.candidates.map((c) => c.variant)).toEqual(['dense', 'head-sparse']);
    expect(p.exclusions.map((e) => [e.variant, e.reason])).toEqual([
      ['mlp-sparse', 'a gated MLP stays dense unless --mlp-density or --mlp-topk is given'],
      ['polar', expect.stringContaining('polar is then head-sparse, measured as that')],
    ]);
    expect(counts(step({ models: [llama2], variants: ['dense', 'polar'] }))).toEqual([
      ['step/dense', 32, 11_008],
      ['step/head-sparse', 16, 11_008],
    ]);
  });

  it('is sparse where one is given, by flag or by the model itself', () => {
    const four = ['dense', 'mlp-sparse', 'head-sparse', 'polar'];
    const variants = (p: ReturnType<typeof plan>) => p.cells[0]?.candidates.map((c) => c.variant);
    expect(variants(step({ models: [llama2], mlpDensities: [0.5] }))).toEqual(four);
    expect(variants(step({ models: [tinyLlama] }))).toEqual(four);
    expect(step({ models: [tinyLlama] }).cells[0]?.candidates[1]?.activeNeurons).toBe(563);
  });

  it('nothing but mlp-sparse leaves nothing to measure', () => {
    const p = step({ models: [llama2], variants: ['mlp-sparse'] });
    expect(p.cells).toEqual([]);
    expect(p.exclusions).toHaveLength(1);
  });
});

describe('refusals', () => {
  it('a layer that the kernels do not compute, in the scopes that have one', () => {
    const odd = { ...tinyLlama, unmodelledBlock: 'it normalises queries and keys' };
    expect(() => step({ models: [odd] })).toThrow(PlanError);
    expect(() => step({ models: [odd] })).toThrow(/^Expected a layer that scope step computes/);
    expect(plan({ models: [odd], scopes: ['attention', 'router'] }).cells).toHaveLength(2);
  });

  it('a breakdown of anything but steps', () => {
    expect(step({ breakdown: true }).breakdown).toBe(true);
    expect(step({}).breakdown).toBe(false);
    expect(() => plan({ breakdown: true })).toThrow(
      /^Expected scope step alone with --breakdown, got attention, mlp/,
    );
    expect(() => plan({ breakdown: true, scopes: ['step', 'layer'] })).toThrow(PlanError);
  });
});

it('the default scopes stay attention and mlp', () => {
  expect(new Set(plan({}).cells.map((c) => c.scope))).toEqual(new Set(['attention', 'mlp']));
});

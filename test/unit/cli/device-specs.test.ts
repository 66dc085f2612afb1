import { describe, expect, test } from 'vitest';

import { deviceSpec, deviceSpecList, deviceSpecNames, predictedMaps } from '../../../src/cli/device-specs.js';
import { UsageError } from '../../../src/core/errors.js';
import { loadModel } from '../../../src/models/load.js';
import { predictedPolarMap } from '../../../src/report/polar-map.js';
import { measuredRow } from '../claims/rows.js';

describe('devices that are not at hand', () => {
  test('names are files of configs/devices, and nothing else is opened', () => {
    expect(deviceSpecNames()).toEqual(['a100-80gb', 'h100-sxm', 'h200']);
    expect(deviceSpecList('h200, a100-80gb,h200')).toEqual(['h200', 'a100-80gb']);
    expect(() => deviceSpec('../models/opt-66b')).toThrow(UsageError);
  });
});

describe('the densities of a prediction', () => {
  const model = loadModel('llama-2-7b');
  const speedups = (rows: Parameters<typeof predictedMaps>[2]) =>
    predictedMaps([model], ['h200'], rows)[0]?.cells.map((c) => c.speedup);
  const at = (heads: number, mlp: number | null) =>
    predictedPolarMap(model, deviceSpec('h200'), () => ({ heads, mlp })).cells.map((c) => c.speedup);
  const row = (kernel: string, density: number) =>
    measuredRow(kernel, 1, {
      model: 'llama-2-7b',
      variant: kernel.startsWith('mlp') ? 'mlp-sparse' : 'head-sparse',
      head_density: kernel.startsWith('mlp') ? null : density,
      mlp_density: kernel.startsWith('mlp') ? density : null,
    });

  test('are what was measured, where that was one density', () => {
    expect(speedups([row('attention/selective-head', 0.25), row('mlp/selective', 0.3)])).toEqual(
      at(0.25, 0.3),
    );
  });

  test('are what is published, where nothing or several were: head density 0.5, a gated MLP dense', () => {
    expect(speedups([])).toEqual(at(0.5, null));
    const two = [row('attention/selective-head', 0.25), row('attention/selective-head', 0.75)];
    expect(speedups(two)).toEqual(at(0.5, null));
  });
});

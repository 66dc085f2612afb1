import { execFileSync } from 'node:child_process';

import { describe, expect, test } from 'vitest';

import { reproCommand, shellWord } from '../../../src/cli/repro.js';
import { candidate, cell, selectiveHead } from '../../support/cells.js';

describe('reproCommand', () => {
  test('head-sparse: the density as groups over groups, beside the dense kernels', () => {
    expect(reproCommand('llama-3-8b', cell(), selectiveHead(4))).toBe(
      'polar-bench sweep --model llama-3-8b --scope attention --batch 2 --seq 100 --variant dense,head-sparse' +
        ' --head-density 2/4 --backend cpu --device 0 --dtype bf16 --seed 1 --cache cold',
    );
  });

  test('mlp-sparse has no sequence length', () => {
    const sparse = candidate({
      kernel: 'mlp/selective',
      variant: 'mlp-sparse',
      activeHeads: null,
      activeNeurons: 300,
    });
    const command = reproCommand('m', cell({ scope: 'mlp', kvLen: null, candidates: [sparse] }), sparse);
    expect(command).toContain('--scope mlp --batch 2 --variant dense,mlp-sparse --mlp-density 300/1024');
    expect(command).not.toContain('--seq');
  });

  const layered = (densitySource: string) =>
    candidate({
      kernel: 'step/polar',
      variant: 'polar',
      activeHeads: 4,
      activeNeurons: 300,
      layerActiveNeurons: [200, 400],
      densitySource,
    });
  const step = (sparse: ReturnType<typeof candidate>) =>
    reproCommand('m', cell({ scope: 'step', candidates: [sparse] }), sparse);

  test('head-sparse in a step says nothing about neurons, although all of them are computed', () => {
    const sparse = candidate({ ...selectiveHead(4), kernel: 'step/head-sparse', activeNeurons: 1024 });
    expect(step(sparse)).toContain('--variant dense,head-sparse --head-density 2/4 --backend');
  });

  test.each([
    ['critical:x; published:Fig. 2a, scaled to mean 0.49 of the table', '2/4 --backend'],
    ['flag; published:Fig. 2a', '2/4 --mlp-density union --backend'],
    ['flag; topk:a b.csv', "2/4 --mlp-topk 'a b.csv' --backend"],
    ['topk:k.csv (batch 3 by the law)', '2/4 --mlp-topk k.csv --backend'],
  ])('polar with another count in each layer names where they come from: %s', (source, words) => {
    expect(step(layered(source))).toContain(`--variant dense,polar --head-density ${words}`);
  });

  test.each(['plain', "it's", 'a b', '$(reboot)', '`x`', '"q"', '*', '\\', "';'"])(
    '%j survives a shell',
    (word) => {
      const echoed = execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' });
      expect(echoed).toBe(word);
    },
  );
});

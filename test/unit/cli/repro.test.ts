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

  test.each(['plain', "it's", 'a b', '$(reboot)', '`x`', '"q"', '*', '\\', "';'"])(
    '%j survives a shell',
    (word) => {
      const echoed = execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' });
      expect(echoed).toBe(word);
    },
  );
});

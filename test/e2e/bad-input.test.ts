import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { runCli, temporaryFolder } from '../support/cli.js';

const SWEEP = ['sweep', '--model', 'tiny-llama', '--backend', 'cpu'];

/** One `error:` line with code, one hint, nothing on stdout, nothing left behind in the working folder. */
function expectRefused(args: readonly string[], exit: number, code: string, says: RegExp): void {
  const cwd = temporaryFolder();
  const result = runCli(args, { cwd });
  const errors = result.stderr.split('\n').filter((line) => line.startsWith('error: '));
  expect(errors, result.stderr).toHaveLength(1);
  expect(errors[0]).toContain(`[${code}]`);
  expect(errors[0]).toMatch(says);
  expect(result.stderr).toMatch(/^hint: \S/m);
  expect(result.stdout).toBe('');
  expect(result.status).toBe(exit);
  expect(readdirSync(cwd)).toEqual([]);
}

describe('words', () => {
  test.each([
    [['swep'], /Unknown command 'swep'/],
    [[...SWEEP, '--modle', 'x'], /Unknown option '--modle'/],
    [['sweep', '--model', 'lama-3-8b'], /--model, got "lama-3-8b"/],
    [['sweep'], /at least one model for --model/],
    [[...SWEEP, '--variant', 'sparse'], /--variant, got "sparse"/],
    [[...SWEEP, '--scope', 'atention'], /--scope, got "atention"/],
    [[...SWEEP, '--dtype', 'fp32'], /--dtype, got "fp32"/],
    [[...SWEEP, '--backend', 'gpu'], /--backend, got "gpu"/],
    [[...SWEEP, '--format', 'xml'], /--format, got "xml"/],
    [[...SWEEP, '--cache', 'warm'], /--cache, got "warm"/],
    [[...SWEEP, '--preset', 'big'], /--preset, got "big"/],
    [[...SWEEP, 'surplus'], /./],
  ])('%j', (args, says) => expectRefused(args, 2, 'E_USAGE', says));
});

describe('numbers', () => {
  test.each([
    ['--batch', '0'],
    ['--batch', '-4'],
    ['--batch', ''],
    ['--batch', '8-1'],
    ['--batch', '1e9'],
    ['--batch', '1,,2'],
    ['--seq', '1.5'],
    ['--seq', '1-64*1'],
    ['--seq', '99999999999999999999'],
    ['--head-density', '0'],
    ['--head-density', '1.5'],
    ['--head-density', 'nan'],
    ['--head-density', '1/0'],
    ['--mlp-density', '-0.1'],
    ['--min-samples', '0'],
    ['--max-noise', '0'],
    ['--max-time', '-1'],
    ['--threads', '1.5'],
    ['--seed', 'x'],
    ['--device', '-1'],
    ['--shard', '3/2'],
  ])('%s %s', (name, value) => {
    const says = new RegExp(`Expected .* for ${name}, got `);
    expectRefused([...SWEEP, `${name}=${value}`], 2, 'E_USAGE', says);
  });

  test('a density that one KV group cannot meet', () => {
    const cwd = temporaryFolder();
    const path = join(cwd, 'config.json');
    writeFileSync(path, JSON.stringify({ ...LLAMA, num_key_value_heads: 1 }));
    const args = [
      'sweep',
      '--model',
      path,
      '--backend',
      'cpu',
      '--scope',
      'attention',
      '--head-density',
      '0.5',
    ];
    expectRefused(args, 2, 'E_PLAN', /--head-density, got 0.5/);
  });

  test('polar alone has no kernel in the scope attention', () => {
    expectRefused(
      [...SWEEP, '--scope', 'attention', '--variant', 'polar'],
      2,
      'E_PLAN',
      /--variant, got polar/,
    );
  });
});

const LLAMA = {
  model_type: 'llama',
  hidden_size: 512,
  intermediate_size: 1024,
  num_hidden_layers: 2,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  hidden_act: 'silu',
  vocab_size: 1000,
};

describe('model files', () => {
  const without = (key: string): object =>
    Object.fromEntries(Object.entries(LLAMA).filter(([k]) => k !== key));

  test.each<[string, string, RegExp]>([
    ['not JSON', '{ "model_type": ', /JSON/],
    ['a list', '[]', /./],
    ['no hidden_size', JSON.stringify(without('hidden_size')), /\/hidden_size/],
    ['heads that do not divide', JSON.stringify({ ...LLAMA, num_key_value_heads: 3 }), /num_key_value_heads/],
    ['a fraction of a head', JSON.stringify({ ...LLAMA, num_attention_heads: 1.5 }), /num_attention_heads/],
    ['mixture of experts', JSON.stringify({ ...LLAMA, model_type: 'mixtral', num_local_experts: 8 }), /./],
    ['latent attention', JSON.stringify({ ...LLAMA, model_type: 'deepseek_v3', kv_lora_rank: 512 }), /./],
    ['an unknown architecture', JSON.stringify({ ...LLAMA, model_type: 'nonesuch' }), /nonesuch/],
  ])('%s', (_what, content, says) => {
    const folder = temporaryFolder();
    const path = join(folder, 'config.json');
    writeFileSync(path, content);
    expectRefused(['sweep', '--model', path, '--backend', 'cpu'], 2, 'E_CONFIG', says);
  });

  test('a path that is not there', () => {
    expectRefused(['sweep', '--model', './missing/config.json'], 2, 'E_CONFIG', /missing\/config.json/);
  });

  test('an escape sequence in a model file never reaches the terminal', () => {
    const folder = temporaryFolder();
    const path = join(folder, 'config.json');
    writeFileSync(path, JSON.stringify({ ...LLAMA, model_type: '\u001b[31mred\u0007\u009b2J' }));
    const result = runCli(['sweep', '--model', path, '--backend', 'cpu']);
    expect(result.status).toBe(2);
    // eslint-disable-next-line no-control-regex
    expect(result.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });
});

describe('configuration files', () => {
  test.each<[string, object, RegExp]>([
    ['an unknown key', { models: ['tiny-llama'], bach: [1] }, /\/bach/],
    ['a wrong value', { models: ['tiny-llama'], batch: [0] }, /\/batch/],
    ['a wrong type', { models: ['tiny-llama'], seed: 'one' }, /\/seed/],
  ])('%s is named by its JSON pointer', (_what, content, says) => {
    const path = join(temporaryFolder(), 'sweep.json');
    writeFileSync(path, JSON.stringify(content));
    expectRefused(['sweep', '--config', path, '--backend', 'cpu'], 2, 'E_CONFIG', says);
  });

  test('a file that is not there', () => {
    expectRefused(['sweep', '--config', 'missing.json'], 2, 'E_CONFIG', /--config, got missing.json/);
  });
});

describe('result folders', () => {
  test('a folder that is not empty is left as it was', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'mine.txt'), 'mine');
    const result = runCli([...SWEEP, '--out', folder]);
    expect(result.status).toBe(2);
    expect(result.stderr).toMatch(/error: Expected an absent or empty folder for --out/);
    expect(readdirSync(folder)).toEqual(['mine.txt']);
  });

  test('a file as --out', () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    const result = runCli([...SWEEP, '--out', file]);
    expect(result.status).toBe(2);
    expect(result.stderr).toMatch(/error: .*--out/);
  });

  // A superuser may write anywhere, so a read-only folder only says something to others; /proc refuses everybody.
  test('a place that takes no folders', () => {
    const result = runCli([...SWEEP, '--out', '/proc/polar-bench']);
    expect(result.status).toBe(2);
    expect(result.stderr).toMatch(/error: Expected a writable folder for --out/);
  });

  test.runIf(process.getuid?.() !== 0)('a read-only folder', () => {
    const folder = join(temporaryFolder(), 'locked');
    mkdirSync(folder);
    chmodSync(folder, 0o500);
    const result = runCli([...SWEEP, '--out', join(folder, 'out')]);
    expect(result.status).toBe(2);
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });
});

describe('a backend that is not there', () => {
  test.skipIf(existsSync('/dev/nvidia0'))(
    'says whether library, driver or device is missing, and exits 3',
    () => {
      expectRefused(
        ['sweep', '--model', 'tiny-llama', '--backend', 'cuda'],
        3,
        'E_BACKEND_UNAVAILABLE',
        /libpolar_cuda\.so|driver|device/i,
      );
    },
  );
});

import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { FAULT_ADDON, MAIN, runCli, temporaryFolder } from '../support/cli.js';

const SWEEP =
  'sweep --model tiny-opt --backend cpu --scope attention --seq 64 --batch 1 --cache hot --max-time 0.05 --min-samples 3 --quiet'.split(
    ' ',
  );

/** docs/cli.md; 130 is in faults.test.ts and ab.test.ts, more of 5 and 6 in the unit tests of compare. */
describe('exit codes', () => {
  test('0, 5 and 6: the same results, slower ones, and those of another device', { timeout: 60_000 }, () => {
    const root = temporaryFolder();
    const base = join(root, 'base');
    expect(runCli([...SWEEP, '--out', base])).toMatchObject({ status: 0 });
    const changed = (name: string, change: (line: string) => string): string => {
      const folder = join(root, name);
      cpSync(base, folder, { recursive: true });
      const rows = join(folder, 'rows.csv');
      const [header = '', ...lines] = readFileSync(rows, 'utf8').split('\r\n');
      writeFileSync(rows, [header, ...lines.map((line) => (line === '' ? '' : change(line)))].join('\r\n'));
      return folder;
    };
    const header = readFileSync(join(base, 'rows.csv'), 'utf8').split('\r\n')[0]?.split(',') ?? [];
    const slower = changed('slower', (line) =>
      line
        .split(',')
        .map((field, i) => (header[i]?.startsWith('latency_us_') ? String(2 * Number(field)) : field))
        .join(','),
    );
    const elsewhere = changed('elsewhere', (line) => line.replace(',bf16,', ',fp16,'));
    expect(runCli(['compare', base, base])).toMatchObject({ status: 0 });
    expect(runCli(['compare', base, slower])).toMatchObject({ status: 5 });
    const other = runCli(['compare', base, elsewhere]);
    expect(other).toMatchObject({ status: 6 });
    expect(other.stderr).toContain('error: Expected results of the same device and settings');
    expect(other.stderr).toContain('dtype: base has "bf16", head has "fp16"');
  });

  test('5 behind a pipe whose reader has seen enough, on either stream', () => {
    const root = temporaryFolder();
    const rows = readFileSync('results/cpu/llama-3-8b/rows.csv', 'utf8');
    const names = rows.slice(0, rows.indexOf('\r\n')).split(',');
    const [head, base] = [join(root, 'head.csv'), join(root, 'base.csv')];
    writeFileSync(head, rows);
    const halved = rows.split('\r\n').map((line) =>
      line
        .split(',')
        .map((field, i) =>
          names[i]?.startsWith('latency_us_') && Number(field) > 0 ? String(Number(field) / 2) : field,
        )
        .join(','),
    );
    writeFileSync(base, halved.join('\r\n'));
    // The reader is gone before the first byte is written.
    const script = `set -o pipefail; (sleep 0.3; exec "$@") 2>&1 | true`;
    const command = [process.execPath, MAIN, 'compare', base, head];
    const result = spawnSync('bash', ['-c', script, 'bash', ...command], { encoding: 'utf8' });
    expect(result).toMatchObject({ status: 5, stderr: '' });
  });

  test.each([
    [1, 'a kernel that fails', { POLAR_BENCH_FAULT: 'oom:attention/gather-dense' }],
    [4, 'a kernel that is wrong', { POLAR_BENCH_FAULT: 'skip-tile:attention/selective-head' }],
    [
      4,
      'one that is wrong and one that fails',
      { POLAR_BENCH_FAULT: 'oom:attention/gather-dense,skip-tile:attention/selective-head' },
    ],
  ])('%i: %s', (status, _, env) => {
    const out = join(temporaryFolder(), 'out');
    const result = runCli([...SWEEP, '--out', out], { env: { ...env, POLAR_BENCH_ADDON: FAULT_ADDON } });
    expect(result).toMatchObject({ status });
  });

  test('2: a flag that does not exist', () => {
    expect(runCli([...SWEEP, '--densty', '1'])).toMatchObject({ status: 2, stdout: '' });
  });

  test('3: a backend that is not there', () => {
    const result = runCli([...SWEEP, '--backend', 'cuda', '--out', join(temporaryFolder(), 'out')], {
      env: { POLAR_BENCH_ADDON: FAULT_ADDON },
    });
    expect(result).toMatchObject({ status: 3 });
    expect(result.stderr).toContain('[E_BACKEND_UNAVAILABLE]');
  });

  test('70: a bug, with a stack', () => {
    const addon = join(temporaryFolder(), 'addon.cjs');
    // A backend that forgets to say how much memory there is.
    writeFileSync(
      addon,
      `module.exports = {
        abiVersion: () => ${/POLAR_ABI_VERSION\D+(\d+)/.exec(readFileSync('src/native/abi.h', 'utf8'))?.[1]},
        progress: () => ({ beats: 0, phase: '', fraction: 0 }),
        describe: async () => ({ name: 'fake' }),
      };`,
    );
    const result = runCli(SWEEP, { env: { POLAR_BENCH_ADDON: addon } });
    expect(result).toMatchObject({ status: 70, stdout: '' });
    expect(result.stderr).toMatch(/error: Expected the fact .*\[E_INTERNAL\]\n[^]* at /);
  });
});

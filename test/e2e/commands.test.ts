import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import { FAULT_ADDON, MAIN, runCli } from '../support/cli.js';

describe('help and lists', () => {
  test('--help and a bare call name the commands on stdout', () => {
    for (const args of [['--help'], [], ['help']]) {
      const result = runCli(args);
      expect(result.status).toBe(0);
      expect(result.stdout).toMatch(/sweep/);
      expect(result.stdout).toMatch(/polar-bench sweep --model llama-3-8b/);
      expect(result.stderr).toBe('');
    }
  });

  test('--version prints the version alone', () => {
    expect(runCli(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
  });

  test('models as JSON has the shapes of the paper with their sources', () => {
    const { models } = JSON.parse(runCli(['models', '--format', 'json']).stdout) as {
      models: { name: string }[];
    };
    const opt = models.find((m) => m.name === 'opt-66b');
    expect(opt).toMatchObject({ hidden_size: 9216, num_qo_heads: 72, critical_head_density: { value: 0.3 } });
  });

  test('a reader that has seen enough is no error', () => {
    const result = spawnSync(
      'bash',
      ['-o', 'pipefail', '-c', `"${process.execPath}" "${MAIN}" models | head -1`],
      {
        encoding: 'utf8',
      },
    );
    expect(result.status).toBe(0);
    expect(result.stderr).toBe('');
  });

  test('commands that measure nothing load no native code', () => {
    const env = { POLAR_BENCH_ADDON: '/nonexistent' };
    expect(runCli(['models'], { env }).status).toBe(0);
    expect(runCli(['sweep', '--help'], { env }).status).toBe(0);
  });
});

describe('doctor and devices', () => {
  test('doctor says what works', () => {
    const result = runCli(['doctor']);
    expect(result.status).toBe(0);
    expect(result.stdout).toMatch(/^ok {3}backend cpu: /m);
    expect(result.stdout).toMatch(/^(ok|no) {3}backend cuda: /m);
  });

  test('a missing addon is explained, with exit 3', () => {
    const result = runCli(['doctor'], { env: { POLAR_BENCH_ADDON: '/nonexistent' } });
    expect(result.status).toBe(3);
    expect(result.stdout).toMatch(/npm rebuild/);
  });

  test('devices measures ceilings', () => {
    const result = runCli(['devices', '--format', 'json']);
    expect(result.status, result.stderr).toBe(0);
    const { devices } = JSON.parse(result.stdout) as {
      devices: { backend: string; ceilings: { read_gb_per_s: number } | null }[];
    };
    expect(devices.find((d) => d.backend === 'cpu')?.ceilings?.read_gb_per_s).toBeGreaterThan(1);
  });
});

describe('verify', () => {
  const QUICK = ['verify', '--backend', 'cpu', '--random', '2', '--repeats', '3'];

  // Routers, layers and steps: step.test.ts
  const KERNELS = ['--scope', 'attention,mlp,mlp-up,mlp-down'];

  test('passes on every kernel, dtype and edge shape of the CPU', { timeout: 180_000 }, () => {
    const result = runCli([...QUICK, ...KERNELS, '--format', 'json'], { timeoutMs: 170_000 });
    expect(result.status, result.stderr + result.stdout).toBe(0);
    const report = JSON.parse(result.stdout) as {
      not_refused: number;
      problems: unknown[];
      kernels: { passed: number; worst_tolerance_share: number }[];
    };
    expect(report.problems).toEqual([]);
    expect(report.not_refused).toBe(0);
    expect(report.kernels).toHaveLength(26);
    for (const kernel of report.kernels) {
      expect(kernel.passed).toBeGreaterThan(20);
      expect(kernel.worst_tolerance_share).toBeLessThanOrEqual(1);
    }
  });

  test('a planted wrong tile makes the kernel incorrect, exit 4', { timeout: 120_000 }, () => {
    expect(existsSync(FAULT_ADDON)).toBe(true);
    const env = { POLAR_BENCH_ADDON: FAULT_ADDON, POLAR_BENCH_FAULT: 'skip-tile:mlp-up/selective' };
    const result = runCli([...QUICK, '--scope', 'mlp-up', '--dtype', 'bf16', '--format', 'json'], {
      env,
      timeoutMs: 110_000,
    });
    expect(result.status).toBe(4);
    const { kernels } = JSON.parse(result.stdout) as { kernels: { kernel: string; incorrect: number }[] };
    expect(kernels.filter((k) => k.incorrect > 0).map((k) => k.kernel)).toEqual(['mlp-up/selective']);
  });
});

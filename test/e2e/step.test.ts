import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse } from 'csv-parse/sync';
import { describe, expect, test } from 'vitest';

import { CATALOG } from '../../src/core/catalog.js';
import { VARIANTS } from '../../src/core/cell.js';
import { runCli, temporaryFolder } from '../support/cli.js';

const QUICK = ['--backend', 'cpu', '--max-time', '0.3'];
const MODELS = ['tiny-opt', 'tiny-llama'] as const;

interface JsonRow {
  readonly [column: string]: string | number | null;
}

function sweep(args: readonly string[], env: Record<string, string> = {}) {
  const out = join(temporaryFolder(), 'out');
  const result = runCli(['sweep', '--format', 'json', '--out', out, ...args], { env, timeoutMs: 90_000 });
  expect(result.status, result.stderr).toBe(0);
  const { rows } = JSON.parse(result.stdout) as { rows: JsonRow[] };
  return { rows, out, stderr: result.stderr };
}

const breakdownOf = (folder: string) =>
  parse(readFileSync(join(folder, 'breakdown.csv'), 'utf8'), {
    columns: true,
    record_delimiter: '\r\n',
  }) as Record<string, string>[];

describe('a whole decode step', () => {
  test.each(MODELS)(
    'a bare sweep of %s ends within a minute with all four variants ok',
    { timeout: 100_000 },
    (model) => {
      const started = performance.now();
      const { rows } = sweep(['--backend', 'cpu', '--model', model, '--scope', 'step']);
      expect((performance.now() - started) / 1000).toBeLessThan(60);
      expect(rows.map((row) => [row['batch_size'], row['variant'], row['status']])).toEqual(
        [1, 4, 16].flatMap((b) => VARIANTS.map((variant) => [b, variant, 'ok'])),
      );
    },
  );

  test('a row has tokens per second, resident layers, a bound and the densities of both halves', () => {
    const { rows } = sweep([
      ...QUICK,
      '--model',
      'tiny-opt',
      '--scope',
      'step',
      '--batch',
      '4',
      '--seq',
      '256',
    ]);
    for (const row of rows) {
      const latency = row['latency_us_median'] as number;
      expect(row['tokens_per_s']).toBeCloseTo(4e6 / latency, 3);
      expect(row['resident_layers']).toBeGreaterThanOrEqual(2);
      expect(row['pct_of_bound']).toBeGreaterThan(0);
      expect(row['bytes_moved']).toBeGreaterThan(0);
      expect(row['max_rel_err']).toBeLessThan(0.1);
    }
    expect(rows.map((row) => [row['variant'], row['active_heads'], row['active_neurons']])).toEqual([
      ['dense', 4, 1024],
      ['mlp-sparse', 4, 512],
      ['head-sparse', 2, 1024],
      ['polar', 2, 512],
    ]);
    expect(rows[0]).toMatchObject({ baseline_kernel: 'step/dense', speedup: 1 });
  });

  test('a layer has no tokens; a router has neither a baseline nor a length', () => {
    const { rows } = sweep([...QUICK, '--model', 'tiny-llama', '--scope', 'router,layer', '--batch', '3']);
    const kernels = CATALOG.filter((k) => k.scope === 'router' || k.scope === 'layer').map((k) => k.id);
    expect(rows.map((row) => [row['kernel'], row['status']])).toEqual(kernels.map((id) => [id, 'ok']));
    for (const row of rows) {
      expect(row['tokens_per_s']).toBeNull();
      const router = row['scope'] === 'router';
      expect([row['kv_len'] === null, row['baseline_kernel'] === null]).toEqual([router, router]);
      expect(row['resident_layers'] === null).toBe(router);
    }
  });

  test('each layer computes the neurons that a top-k table gives it', () => {
    const table = join(temporaryFolder(), 'k.csv');
    const csv = 'layer,batch_size,optimal_k\n0,2,100\n1,2,901\n';
    writeFileSync(table, csv);
    const { rows, out } = sweep([
      ...QUICK,
      ...'--model tiny-opt --scope step --batch 2 --seq 64 --variant mlp-sparse --mlp-topk'.split(' '),
      table,
    ]);
    expect(rows.map((row) => [row['status'], row['active_neurons']])).toEqual([['ok', 501]]);
    expect(readFileSync(join(out, 'plan.json'), 'utf8').replaceAll(/\s+/g, '')).toContain(
      '"layer_active_neurons":[100,901]',
    );
    expect(rows[0]?.['repro_command']).toContain(`--mlp-topk ${table}`);
  });
});

describe('--breakdown', () => {
  const STEP = ['--model', 'tiny-opt', '--scope', 'step', '--batch', '2', '--seq', '256'];

  test('gives the parts of every step: in breakdown.csv, and as a table', () => {
    const { rows, out } = sweep([...QUICK, ...STEP, '--breakdown']);
    const parts = breakdownOf(out);
    for (const row of rows) {
      const own = parts.filter((p) => p['kernel'] === row['kernel']);
      const modules = own.map((p) => p['module']).toSorted();
      expect(modules).toEqual(['attention', 'mlp', 'other', 'out-proj', 'qkv', 'routers']);
      expect(own.reduce((sum, p) => sum + Number(p['share']), 0)).toBeCloseTo(1, 9);
    }
    const printed = runCli(['sweep', '--resume', out]);
    expect(printed.stdout).toContain('tokens/s');
    expect(printed.stdout).toContain('shares of a decode step, %');
    // Notes below a table are sentences; tables are not to wrap.
    const tables = printed.stdout.split('\n').filter((line) => !/^ {2}(batch|\d+ of)/.test(line));
    expect(Math.max(...tables.map((line) => line.length))).toBeLessThanOrEqual(120);
    expect(breakdownOf(out)).toEqual(parts);
  });

  test('can be set by the environment, and is not there unless asked for', () => {
    const set = sweep([...QUICK, ...STEP, '--variant', 'dense'], { POLAR_BENCH_BREAKDOWN: '1' });
    expect(existsSync(join(set.out, 'breakdown.csv'))).toBe(true);
    const unset = sweep([...QUICK, ...STEP, '--variant', 'dense']);
    expect(existsSync(join(unset.out, 'breakdown.csv'))).toBe(false);
  });

  test.each([[[]], [['--scope', 'step,layer']]])('of anything but steps is refused: %j', (scope) => {
    const result = runCli(['sweep', '--backend', 'cpu', '--model', 'tiny-opt', '--breakdown', ...scope]);
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('Expected scope step alone with --breakdown');
  });
});

describe('before anything is measured', () => {
  test('--dry-run says how many layers of a step are held', () => {
    const args = [
      '--backend',
      'cpu',
      '--model',
      'tiny-opt',
      '--scope',
      'step',
      '--batch',
      '1',
      '--seq',
      '64',
    ];
    const result = runCli(['sweep', ...args, '--dry-run', '--cache', 'hot']);
    expect(result.status, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/tiny-opt +│ step +│ 1 +│ 64 +│ 4 +│ .* MB in 2 layers/);
  });

  test('a gated model says what its polar is', () => {
    const args = ['--backend', 'cpu', '--model', 'llama-2-7b', '--scope', 'step', '--batch', '1'];
    const result = runCli(['sweep', ...args, '--seq', '64', '--dry-run']);
    expect(result.status, result.stderr).toBe(0);
    expect(result.stderr).toContain('left out: llama-2-7b step polar: a gated MLP stays dense');
    expect(result.stdout).toMatch(/llama-2-7b +│ step +│ 1 +│ 64 +│ 2 +│/);
  });
});

describe('verify', () => {
  test.each([
    ['router', 'bf16,fp16'],
    ['layer', 'fp16'],
    ['step', 'bf16'],
  ])('of scope %s in %s passes on the CPU', { timeout: 180_000 }, (scope, dtypes) => {
    const args = ['verify', '--backend', 'cpu', '--scope', scope, '--dtype', dtypes, '--random', '2'];
    const result = runCli([...args, '--repeats', '2', '--format', 'json'], { timeoutMs: 170_000 });
    expect(result.status, result.stdout.slice(-2000)).toBe(0);
    const { kernels, problems } = JSON.parse(result.stdout) as {
      kernels: { kernel: string; passed: number }[];
      problems: unknown[];
    };
    expect(problems).toEqual([]);
    const ids = CATALOG.filter((k) => k.scope === scope).map((k) => k.id);
    expect([...new Set(kernels.map((k) => k.kernel))].toSorted()).toEqual(ids.toSorted());
    for (const kernel of kernels) expect(kernel.passed).toBeGreaterThan(10);
  });
});

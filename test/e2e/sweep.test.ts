import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { parse } from 'csv-parse/sync';
import { beforeAll, describe, expect, test } from 'vitest';

import { CATALOG } from '../../src/core/catalog.js';
import type { Scope } from '../../src/core/cell.js';
import { COLUMN_HEADERS } from '../../src/report/columns.js';
import { FAULT_ADDON, runCli, temporaryFolder } from '../support/cli.js';

/** Kernels of one layer; routers, layers and steps have a file of their own. */
const SCOPES: readonly Scope[] = ['attention', 'mlp', 'mlp-up', 'mlp-down'];
const QUICK = ['--backend', 'cpu', '--max-time', '0.3', '--seq', '256', '--cache', 'hot'];

interface JsonRow {
  readonly [column: string]: string | number | null;
}

function jsonSweep(...args: string[]): { rows: JsonRow[]; folder: string; stderr: string } {
  const folder = join(temporaryFolder(), 'out');
  const result = runCli(['sweep', ...QUICK, '--format', 'json', '--out', folder, ...args]);
  expect(result.status, result.stderr).toBe(0);
  const document = JSON.parse(result.stdout) as { schema_version: number; rows: JsonRow[] };
  expect(document.schema_version).toBe(1);
  return { rows: document.rows, folder, stderr: result.stderr };
}

describe('a sweep of a small model on the CPU', () => {
  let rows: JsonRow[];

  beforeAll(() => {
    rows = jsonSweep('--model', 'tiny-llama,tiny-opt', '--batch', '1,3', '--scope', SCOPES.join(',')).rows;
  });

  test('has a row of every kernel of the CPU, all ok', () => {
    const kernels = new Set(rows.map((row) => row['kernel']));
    const expected = CATALOG.filter((k) => k.backends.includes('cpu') && SCOPES.includes(k.scope)).map(
      (k) => k.id,
    );
    expect([...kernels].toSorted()).toEqual(expected.toSorted());
    expect(rows.filter((row) => row['status'] !== 'ok')).toEqual([]);
  });

  test('every ok row has a latency within its interval, an error norm, a bound and its share of it', () => {
    for (const row of rows) {
      const [low, median, high] = ['latency_us_ci_low', 'latency_us_median', 'latency_us_ci_high'].map(
        (c) => row[c],
      );
      expect(low).toBeGreaterThan(0);
      expect(median).toBeGreaterThanOrEqual(low as number);
      expect(high).toBeGreaterThanOrEqual(median as number);
      expect(row['max_rel_err']).toBeGreaterThanOrEqual(0);
      expect(row['max_rel_err']).toBeLessThan(0.05);
      expect(row['bound_us']).toBeGreaterThan(0);
      expect(row['pct_of_bound']).toBeCloseTo((100 * (row['bound_us'] as number)) / (median as number), 6);
      expect(row['speedup']).toBeGreaterThan(0);
    }
  });

  test('one dense row per cell is the baseline, with speedup exactly 1', () => {
    const cells = new Map<string, JsonRow[]>();
    for (const row of rows) {
      const key = [row['model'], row['scope'], row['batch_size'], row['kv_len']].join('|');
      cells.set(key, [...(cells.get(key) ?? []), row]);
    }
    expect(cells.size).toBe(2 * 2 * 4);
    for (const cell of cells.values()) {
      const baselines = cell.filter((row) => row['kernel'] === row['baseline_kernel']);
      expect(baselines).toHaveLength(1);
      expect(baselines[0]).toMatchObject({
        variant: 'dense',
        speedup: 1,
        speedup_ci_low: 1,
        speedup_ci_high: 1,
      });
    }
  });
});

describe('results', () => {
  test('the folder holds plan, environment, rows and samples, and rows.csv equals stdout', () => {
    const { rows, folder } = jsonSweep('--model', 'tiny-opt', '--batch', '2', '--scope', 'attention');
    expect(readdirSync(folder).toSorted()).toEqual(['env.json', 'plan.json', 'rows.csv', 'samples.jsonl']);
    const text = readFileSync(join(folder, 'rows.csv'), 'utf8');
    const records = parse(text, {
      columns: true,
      record_delimiter: '\r\n',
      relax_column_count: false,
    }) as Record<string, string>[];
    expect(Object.keys(records[0] ?? {})).toEqual([...COLUMN_HEADERS]);
    expect(records.map((r) => r['latency_us_median'])).toEqual(
      rows.map((r) => String(r['latency_us_median'])),
    );
    const environment = JSON.parse(readFileSync(join(folder, 'env.json'), 'utf8')) as Record<string, unknown>;
    expect(environment).toMatchObject({ backend: 'cpu', seed: 1 });
    expect(environment['aa_spread']).toMatchObject({ rounds: expect.any(Number) });
    const [line] = readFileSync(join(folder, 'samples.jsonl'), 'utf8').trim().split('\n');
    const sample = JSON.parse(line ?? '') as { candidates: { samples_ns: number[] }[] };
    expect(sample.candidates).toHaveLength(rows.length);
    expect(sample.candidates[0]?.samples_ns.length).toBe(rows[0]?.['n_samples']);
  });

  test('the repro command of a row measures the same kernel again', () => {
    const { rows } = jsonSweep(
      '--model',
      'tiny-llama',
      '--batch',
      '1',
      '--scope',
      'mlp',
      '--mlp-density',
      '0.3',
    );
    const row = rows.find((r) => r['kernel'] === 'mlp/selective');
    const args = String(row?.['repro_command']).split(' ').slice(1);
    const again = runCli([
      ...args,
      '--max-time',
      '0.2',
      '--format',
      'json',
      '--out',
      join(temporaryFolder(), 'o'),
    ]);
    const found = (JSON.parse(again.stdout) as { rows: JsonRow[] }).rows.find(
      (r) => r['kernel'] === 'mlp/selective',
    );
    expect(found?.['active_neurons']).toBe(row?.['active_neurons']);
    expect(found?.['head_density']).toBe(row?.['head_density']);
  });

  test('flags win over the environment, the environment over a configuration file', () => {
    const args = ['sweep', '--dry-run', '--backend', 'cpu', '--preset', 'smoke', '--scope', 'attention'];
    const batches = (result: { stdout: string }): string[] =>
      [...result.stdout.matchAll(/attention\s*│\s*(\d+)\s*│/g)].map((m) => m[1] ?? '');
    const environment = { POLAR_BENCH_BATCH: '7', POLAR_BENCH_MODEL: 'tiny-opt' };
    expect(new Set(batches(runCli(args, { env: environment })))).toEqual(new Set(['7']));
    expect(new Set(batches(runCli([...args, '--batch', '5'], { env: environment })))).toEqual(new Set(['5']));
  });

  test('--dry-run measures nothing and leaves no folder', () => {
    const cwd = temporaryFolder();
    const result = runCli(
      ['sweep', '--model', 'opt-66b', '--backend', 'cpu', '--batch', '4096', '--dry-run'],
      { cwd },
    );
    expect(result.status, result.stderr).toBe(0);
    expect(result.stdout).toMatch(/will be skipped/);
    expect(result.stdout).toMatch(/nothing was measured/);
    expect(readdirSync(cwd)).toEqual([]);
  });

  test('a cell that does not fit is skipped with both numbers, before anything is allocated', () => {
    const folder = join(temporaryFolder(), 'out');
    const args = [
      'sweep',
      '--model',
      'opt-66b',
      '--backend',
      'cpu',
      '--scope',
      'attention',
      '--batch',
      '4096',
    ];
    const result = runCli([...args, '--seq', '1m'.replace('m', '024k'), '--format', 'json', '--out', folder]);
    const rows = (JSON.parse(result.stdout) as { rows: JsonRow[] }).rows;
    expect(new Set(rows.map((r) => r['status']))).toEqual(new Set(['skipped']));
    expect(rows[0]?.['reason']).toMatch(/needs [\d.]+ GB .* [\d.]+ GB are available/);
    expect(rows[0]?.['latency_us_median']).toBeNull();
    expect(result.status).toBe(1);
  });

  test.each(['csv', 'jsonl', 'md', 'table'])(
    '--format %s prints the rows and nothing else on stdout',
    (format) => {
      const folder = join(temporaryFolder(), 'out');
      const args = [
        'sweep',
        ...QUICK,
        '--model',
        'tiny-opt',
        '--batch',
        '1',
        '--scope',
        'mlp',
        '--out',
        folder,
      ];
      const result = runCli([...args, '--format', format]);
      expect(result.status).toBe(0);
      expect(result.stdout).toContain(format === 'table' || format === 'md' ? 'selective' : 'mlp/selective');
      if (format === 'csv') expect(result.stdout).toBe(readFileSync(join(folder, 'rows.csv'), 'utf8'));
      if (format === 'jsonl') for (const line of result.stdout.trim().split('\n')) JSON.parse(line);
    },
  );
});

describe('checks that can fail', () => {
  test('the fault build exists', () => expect(existsSync(FAULT_ADDON)).toBe(true));

  test('a kernel that skips one tile becomes incorrect, without a latency, exit 4', () => {
    const env = { POLAR_BENCH_ADDON: FAULT_ADDON, POLAR_BENCH_FAULT: 'skip-tile:attention/selective-head' };
    const folder = join(temporaryFolder(), 'out');
    const args = ['sweep', ...QUICK, '--model', 'tiny-llama', '--batch', '1', '--scope', 'attention'];
    const result = runCli([...args, '--head-density', '0.5', '--format', 'json', '--out', folder], { env });
    const rows = (JSON.parse(result.stdout) as { rows: JsonRow[] }).rows;
    expect(result.status).toBe(4);
    const bad = rows.filter((r) => r['status'] === 'incorrect');
    expect(bad.map((r) => r['kernel'])).toEqual(['attention/selective-head']);
    expect(bad[0]).toMatchObject({ latency_us_median: null, speedup: null });
    expect(rows.filter((r) => r['status'] === 'ok').length).toBe(rows.length - 1);
  });
});

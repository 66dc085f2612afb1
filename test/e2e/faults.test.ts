import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { FAULT_ADDON, runCli, temporaryFolder } from '../support/cli.js';
import { childrenOf, finishedCells, startCli, until } from '../support/running-cli.js';
import { FOUR_FILES, rowsOf, samplesIn, SMALL } from '../support/small-sweep.js';

/** A cell that does not end by itself while a test looks. */
const ENDLESS = [...SMALL, '--max-time', '600', '--max-noise', '0.000001', '--min-samples', '100000'];

describe('a sweep of 40 cells with a crash, a hang, an out-of-memory and a kill -9 of the parent', () => {
  test(
    'resumes: all other cells are ok, none is measured twice, none is lost',
    { timeout: 240_000 },
    async () => {
      const folder = join(temporaryFolder(), 'out');
      const samples = join(folder, 'samples.jsonl');
      const env = {
        POLAR_BENCH_ADDON: FAULT_ADDON,
        POLAR_BENCH_FAULT: [
          'crash:attention/gather-dense:5',
          'hang:attention/gather-dense:9',
          'oom:attention/gather-dense:33',
        ].join(','),
      };
      const flags = [...SMALL, '--batch', '1-40+1', '--hang-timeout', '1', '--out', folder];
      const running = startCli(['sweep', ...flags], { env });
      await until('twenty cells are done', () => finishedCells(samples) >= 20, running);
      const [child] = childrenOf(running.pid);
      running.kill('SIGKILL');
      expect((await running.ended).signal).toBe('SIGKILL');
      await until('the measuring process has followed', () => !existsSync(`/proc/${child}`), running);
      // What a crash in the middle of a write leaves behind.
      truncateSync(samples, readFileSync(samples).length - 7);
      const before = finishedCells(samples);

      const resumed = runCli(['sweep', '--resume', folder, '--hang-timeout', '1', '--format', 'json'], {
        env,
        timeoutMs: 120_000,
      });
      expect(resumed).toMatchObject({ status: 1 });
      expect(resumed.stderr).toMatch(
        /warning: .*samples\.jsonl: line \d+ ends after \d+ bytes and is left out/,
      );
      expect(resumed.stderr).toContain(`${before} cells are done`);

      const batches = samplesIn(folder).map((line) => line.cell.batch_size);
      expect(batches).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
      const bad = rowsOf(resumed.stdout).filter((row) => row['status'] !== 'ok');
      const found = bad.map((row) => [row['batch_size'], row['kernel'], String(row['reason']).split(':')[0]]);
      const kernels = ['attention/dense', 'attention/selective-head', 'attention/gather-dense'];
      expect(found).toEqual([
        ...kernels.map((kernel) => [5, kernel, 'E_CRASHED']),
        ...kernels.map((kernel) => [9, kernel, 'E_HUNG']),
        [33, 'attention/gather-dense', 'E_OUT_OF_MEMORY'],
      ]);
      expect(rowsOf(resumed.stdout)).toHaveLength(120);
      expect(new Set(rowsOf(resumed.stdout).map((row) => row['run_id'])).size).toBe(1);
      expect(readdirSync(folder).toSorted()).toEqual(FOUR_FILES);
      // Every row is in the file as it was printed.
      expect(readFileSync(join(folder, 'rows.csv'), 'utf8').trimEnd().split('\r\n')).toHaveLength(121);
    },
  );
});

describe('a sweep under way', () => {
  test('loses one cell to a kill -9 of the measuring process and goes on', { timeout: 120_000 }, async () => {
    const folder = join(temporaryFolder(), 'out');
    const flags = [...SMALL, '--max-time', '1.5', '--max-noise', '0.0001', '--min-samples', '100000'];
    const running = startCli(['sweep', ...flags, '--batch', '1-3+1', '--out', folder, '--format', 'json']);
    const samples = join(folder, 'samples.jsonl');
    await until('the first cell is done', () => finishedCells(samples) === 1, running);
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const pid of childrenOf(running.pid)) process.kill(pid, 'SIGKILL');
    const { status, stdout, stderr } = await running.ended;
    expect({ status, stderr }).toMatchObject({ status: 1 });
    const statuses = rowsOf(stdout).map((row) => [row['batch_size'], row['status']]);
    expect(new Set(statuses.map(String))).toEqual(new Set(['1,ok', '2,failed', '3,ok']));
    expect(stdout).toContain('E_CRASHED: The measuring process was ended by SIGKILL');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    'keeps others out of its folder, and ends within a second of %s with the resume command',
    { timeout: 120_000 },
    async (signal) => {
      const folder = join(temporaryFolder(), 'out');
      const running = startCli(['sweep', ...ENDLESS, '--batch', '1,2', '--out', folder]);
      const environment = join(folder, 'env.json');
      await until('measuring begins', () => existsSync(environment), running);

      for (const args of [
        ['--resume', folder],
        [...SMALL, '--out', folder],
      ]) {
        const second = runCli(['sweep', ...args]);
        expect(second.status).toBe(2);
        expect(second.stderr).toMatch(/(no other sweep writes to|an absent or empty folder)/);
      }

      const [child] = childrenOf(running.pid);
      const sent = performance.now();
      running.kill(signal);
      const { status, stderr } = await running.ended;
      expect(performance.now() - sent).toBeLessThan(1000);
      expect(status).toBe(130);
      expect(stderr).toContain(`continue with: polar-bench sweep --resume ${folder}`);
      expect(existsSync(`/proc/${child}`)).toBe(false);
      expect(readdirSync(folder)).not.toContain('.lock');
    },
  );
});

describe('a trace that is being written', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)('leaves nothing behind on %s', async (signal) => {
    const root = temporaryFolder();
    const path = join(root, 'drawn.safetensors');
    // Gigabytes, of which the test waits for none.
    const law = '--alpha 0.3 --beta 7 --neurons 36864 --tokens 1000000'.split(' ');
    const running = startCli(['union-sparsity', ...law, '--write-trace', path]);
    await until('the file is begun', () => existsSync(`${path}.partial`), running);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const sent = performance.now();
    running.kill(signal);
    const { status, stderr } = await running.ended;
    expect(performance.now() - sent).toBeLessThan(1000);
    expect(status).toBe(130);
    expect(stderr).toBe('warning: interrupted: no trace was written\n');
    expect(readdirSync(root)).toEqual([]);
  });
});

describe('a machine that loses half of its bandwidth during a sweep', () => {
  test('is named on stderr and in env.json', () => {
    const root = temporaryFolder();
    const addon = join(root, 'addon.cjs');
    const abi = /POLAR_ABI_VERSION\D+(\d+)/.exec(readFileSync('src/native/abi.h', 'utf8'))?.[1];
    // A backend that measures nothing but ceilings, and lower ones each time.
    writeFileSync(
      addon,
      `let read = 45;
      const memory = { last_level_cache_bytes: 1e6, total_memory_bytes: 1e12, free_memory_bytes: 1e12 };
      module.exports = {
        abiVersion: () => ${abi},
        progress: () => ({ beats: 0, phase: '', fraction: 0 }),
        describe: async () => ({ name: 'fake', ...memory }),
        measureCeilings: async () => ({ read_gb_per_s: (read -= 15), matrix_tflop_per_s: 1 }),
        measureCell: async () => { throw Object.assign(new Error('none'), { code: 'E_OUT_OF_MEMORY' }); },
      };`,
    );
    const out = join(root, 'out');
    const result = runCli(['sweep', ...SMALL, '--batch', '1', '--out', out], {
      env: { POLAR_BENCH_ADDON: addon },
    });
    expect(result).toMatchObject({ status: 1 });
    expect(result.stderr).toContain('warning: the read ceiling was 30.0, then 15.0 GB/s, 50 % apart');
    expect(result.stderr).not.toContain('matrix ceiling');
    const environment: unknown = JSON.parse(readFileSync(join(out, 'env.json'), 'utf8'));
    expect(environment).toMatchObject({
      ceilings: { read_gb_per_s: 30 },
      ceilings_after: { read_gb_per_s: 15 },
      ceilings_spread: { read_gb_per_s: 0.5, matrix_tflop_per_s: 0 },
    });
  });
});

describe('a sweep that is ended before its first cell', () => {
  test('can be resumed from its plan alone', { timeout: 60_000 }, async () => {
    const folder = join(temporaryFolder(), 'out');
    const running = startCli(['sweep', ...SMALL, '--batch', '1', '--out', folder]);
    await until('the ceilings are measured', () => existsSync(join(folder, 'rows.csv')), running);
    running.kill('SIGINT');
    const { status, stdout, stderr } = await running.ended;
    expect({ status, stdout }).toMatchObject({ status: 130 });
    expect(stderr).toContain('interrupted after 0 of 1 cells');
    expect(readdirSync(folder).toSorted()).toEqual(['plan.json', 'rows.csv']);
    expect(runCli(['sweep', '--resume', folder])).toMatchObject({ status: 0 });
    expect(readdirSync(folder).toSorted()).toEqual(FOUR_FILES);
  });
});

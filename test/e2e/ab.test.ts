import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { buildFolder } from '../support/builds.js';
import { runCli, temporaryFolder } from '../support/cli.js';
import { startCli, until } from '../support/running-cli.js';

const CELL =
  '--model tiny-opt --backend cpu --scope attention --seq 1k --batch 4 --cache hot --threads 1'.split(' ');
const QUICK = [...CELL, '--max-time', '0.1', '--quiet'];

interface Report {
  readonly verdicts: readonly {
    readonly title: string;
    readonly verdict: string;
    readonly effect: number | null;
    readonly reason: string | null;
    readonly base_runs: number;
  }[];
}

function ab(
  base: string,
  head: string,
  ...flags: string[]
): { status: number | null; stderr: string; report: Report } {
  const args = ['ab', '--base', base, '--head', head, ...QUICK, '--format', 'json', ...flags];
  const { status, stdout, stderr } = runCli(args, { timeoutMs: 120_000 });
  return { status, stderr, report: JSON.parse(stdout === '' ? '{}' : stdout) as Report };
}

describe('ab', { timeout: 240_000 }, () => {
  test('of a build against itself finds no regression', () => {
    const build = buildFolder(join(temporaryFolder(), 'build'));
    const { status, stderr, report } = ab(build, build);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(report.verdicts).toHaveLength(3);
    expect(report.verdicts.map((v) => v.verdict)).not.toContain('regressed');
    for (const v of report.verdicts) expect([8, 16]).toContain(v.base_runs);
  });

  test('finds a delay planted in one kernel, there and nowhere else, and writes the summary', () => {
    const root = temporaryFolder();
    const base = buildFolder(join(root, 'base'));
    const head = buildFolder(join(root, 'head'), 'delay:attention/selective-head:0.4');
    const summary = join(root, 'summary.md');
    const args = [
      'ab',
      '--base',
      base,
      '--head',
      head,
      ...QUICK,
      '--format',
      'json',
      '--fail-on',
      'latency:10%',
    ];
    const env = { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary };
    const { status, stdout, stderr } = runCli(args, { env, timeoutMs: 120_000 });
    expect({ status, stderr }).toMatchObject({ status: 5 });
    const { verdicts } = JSON.parse(stdout) as Report;
    const found = verdicts.filter((v) => v.verdict === 'regressed');
    expect(found.map((v) => v.title)).toEqual(['tiny-opt attention/selective-head B=4 N=1024 heads=2']);
    expect(found[0]?.effect).toBeGreaterThan(0.2);
    expect(stderr).toMatch(/^::error title=regressed%3A tiny-opt attention\/selective-head/m);
    expect(readFileSync(summary, 'utf8')).toContain('attention/selective-head');
  });

  test('says which side could not measure a kernel, and does not ask it again', () => {
    const root = temporaryFolder();
    const base = buildFolder(join(root, 'base'));
    const head = buildFolder(join(root, 'head'), 'oom:attention/gather-dense');
    const { status, report } = ab(base, head, '--rounds', '2');
    expect(status).toBe(1);
    const lost = report.verdicts.find((v) => v.verdict === 'missing');
    expect(lost).toMatchObject({ reason: 'head: failed: Planted: out of memory' });
    expect(report.verdicts.filter((v) => v.verdict === 'missing')).toHaveLength(1);
  });

  test('counts a wrong result of head as a failed verification', () => {
    const root = temporaryFolder();
    const base = buildFolder(join(root, 'base'));
    const head = buildFolder(join(root, 'head'), 'skip-tile:attention/selective-head');
    expect(ab(base, head, '--rounds', '2').status).toBe(4);
  });

  test('ends within a second of SIGINT, without a verdict', async () => {
    const build = buildFolder(join(temporaryFolder(), 'build'));
    const running = startCli(['ab', '--base', build, '--head', build, ...CELL, '--rounds', '1000']);
    await until('pairs are measured', () => running.stderr().includes('measuring: pair'), running);
    const sent = performance.now();
    running.kill('SIGINT');
    const { status, stdout, stderr } = await running.ended;
    expect(performance.now() - sent).toBeLessThan(1000);
    expect(status).toBe(130);
    expect(stdout).toBe('');
    expect(stderr).toContain('interrupted');
  });

  test('refuses what is no build, and a build that speaks another protocol', () => {
    const root = temporaryFolder();
    const build = buildFolder(join(root, 'build'));
    const absent = ab(build, root);
    expect(absent.status).toBe(2);
    expect(absent.stderr).toContain('Expected a build of polar-bench for --head');
    const missing = runCli(['ab', '--base', build]);
    expect(missing.status).toBe(2);
    expect(missing.stderr).toContain('Expected a build of polar-bench for --head, got nothing');
    const nowhere = ab(build, build, '--backend', 'cuda');
    expect(nowhere.status).toBe(3);
    expect(nowhere.stderr).toContain('Expected a backend on which both builds work, got none (cuda: ');
    const old = ab(buildFolder(join(root, 'old'), null, 99), build);
    expect(old.status).toBe(2);
    expect(old.stderr).toContain('protocol 1 for --base, got 99');
  });
});

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { readRowsCsv } from '../../src/sinks/read.js';
import { readBreakdown, readClaims } from '../../src/sinks/claim-files.js';
import { runCli, temporaryFolder } from '../support/cli.js';
import { finishedCells, startCli, until } from '../support/running-cli.js';

const CPU = ['--backend', 'cpu', '--max-time', '0.05'];

test(
  'reproduce is interrupted, goes on, and writes verdict, points, plot and report',
  { timeout: 120_000 },
  async () => {
    const out = join(temporaryFolder(), 'out');
    const first = startCli(['reproduce', 'fig1a-share', 'fig13', ...CPU, '--out', out]);
    await until('a cell is done', () => finishedCells(join(out, 'samples.jsonl')) > 0, first);
    first.kill('SIGINT');
    const interrupted = await first.ended;
    expect(interrupted.status).toBe(130);
    expect(interrupted.stderr).toContain('1 of 2 claims can be measured, scale small: 3 cells');
    expect(interrupted.stderr).toContain(`polar-bench reproduce --resume ${out}`);
    expect(existsSync(join(out, 'claims.csv'))).toBe(false);

    const run = runCli(['reproduce', '--resume', out]);
    // Whatever the verdict: a refuted claim is a result.
    expect(run.status, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/fig13 .*not measurable here/);

    const rows = readRowsCsv(join(out, 'rows.csv'));
    const [share, blocked] = readClaims(out);
    expect(blocked).toMatchObject({ id: 'fig13', verdict: 'not measurable here' });
    expect(share).toMatchObject({ id: 'fig1a-share', scale: 'small' });
    expect(['reproduced', 'exceeded', 'not reproduced']).toContain(share?.verdict);
    // Every number leads to its row, and here to its line of breakdown.csv.
    const last = share?.points.at(-1);
    expect(rows[(last?.rows[0] ?? 0) - 2]).toMatchObject({ kernel: 'step/dense', batch_size: 16 });
    const part = readBreakdown(out).find((b) => b.batch_size === 16 && b.module === 'attention');
    expect(share?.value).toBeCloseTo(100 * (part?.share ?? 0), 9);
    expect(readFileSync(join(out, 'claims/fig1a-share.svg'), 'utf8')).toMatch(/^<svg/);
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('SMALL SCALE');

    const again = runCli(['reproduce', '--resume', out]);
    expect(again.status, again.stderr).toBe(0);
    expect(readClaims(out)).toEqual([share, blocked]);
    expect(readRowsCsv(join(out, 'rows.csv'))).toEqual(rows);
  },
);

test('claims that need no measuring leave a folder all the same', () => {
  const out = join(temporaryFolder(), 'out');
  const run = runCli([
    'reproduce',
    'fig13',
    'greedy-topk',
    '--backend',
    'cpu',
    '--out',
    out,
    '--format',
    'csv',
  ]);
  expect(run.status, run.stderr).toBe(0);
  expect(run.stdout).toBe(readFileSync(join(out, 'claims.csv'), 'utf8'));
  expect(existsSync(join(out, 'rows.csv'))).toBe(true);
});

test('what cannot be asked for is an error with a hint, before anything is written', () => {
  const out = join(temporaryFolder(), 'out');
  const cases: [string[], RegExp][] = [
    [['fig4x'], /Expected a claim of the paper, got "fig4x".*\[E_USAGE\]/s],
    [['fig4a', '--scale', 'huge'], /Expected one of full, small for --scale/],
    [['--resume', out], /for --resume/],
    [['fig4a', '--resume', out], /beside --resume|for --resume/],
  ];
  for (const [args, message] of cases) {
    const run = runCli(['reproduce', ...args]);
    expect(run.status, args.join(' ')).toBe(2);
    expect(run.stderr).toMatch(message);
  }
  expect(existsSync(out)).toBe(false);
});

test('--dry-run prints the cells and measures nothing', () => {
  const run = runCli(['reproduce', 'union-fades', '--backend', 'cpu', '--dry-run']);
  expect(run.status, run.stderr).toBe(0);
  expect(run.stdout).toContain('4 cells on');
  expect(run.stdout).toContain('nothing was measured');
});

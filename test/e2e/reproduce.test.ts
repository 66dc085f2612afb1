import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { readRowsCsv } from '../../src/sinks/read.js';
import { readClaims } from '../../src/sinks/claim-files.js';
import { runCli, temporaryFolder } from '../support/cli.js';

const CPU = ['--backend', 'cpu', '--max-time', '0.05'];

test('reproduce measures what a claim needs, writes verdict, points and plot, and resumes', () => {
  const out = join(temporaryFolder(), 'out');
  const run = runCli(['reproduce', 'fig10-mlp', 'fig13', ...CPU, '--out', out]);
  expect(run.stderr).toContain('1 of 2 claims can be measured, scale small: 1 cell');
  // Whatever the verdict: a refuted claim is a result.
  expect(run.status, run.stderr).toBe(0);
  expect(run.stdout).toMatch(/fig13 .*not measurable here/);

  const rows = readRowsCsv(join(out, 'rows.csv'));
  const [mlp, blocked] = readClaims(out);
  expect(blocked).toMatchObject({ id: 'fig13', verdict: 'not measurable here' });
  expect(mlp).toMatchObject({ id: 'fig10-mlp', scale: 'small' });
  expect(['reproduced', 'exceeded', 'not reproduced']).toContain(mlp?.verdict);
  // Every number leads to its row.
  const half = mlp?.points.find((p) => p.x === 0.5);
  const row = rows[(half?.rows[0] ?? 0) - 2];
  expect(row).toMatchObject({ kernel: 'mlp/selective', mlp_density: 0.5, speedup: half?.value });
  expect(mlp?.value).toBe(half?.value);
  expect(readFileSync(join(out, 'claims/fig10-mlp.svg'), 'utf8')).toMatch(/^<svg/);

  const again = runCli(['reproduce', '--resume', out]);
  expect(again.status, again.stderr).toBe(0);
  expect(readClaims(out)).toEqual([mlp, blocked]);
  expect(readRowsCsv(join(out, 'rows.csv'))).toEqual(rows);
});

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

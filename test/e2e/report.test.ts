import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { evaluateClaim } from '../../src/claims/evaluate.js';
import { allClaims } from '../../src/cli/claims-file.js';
import { loadModel } from '../../src/models/load.js';
import { writeClaims } from '../../src/sinks/claim-files.js';
import { readRowsCsv } from '../../src/sinks/read.js';
import { Chromium, findChromium } from '../support/chromium.js';
import { runCli, temporaryFolder } from '../support/cli.js';

const ROOT = resolve(import.meta.dirname, '../..');
const DATE = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?=<\/time>)|(?<=datetime=")[^"]+|(?<=^Written ).*$/gm;

test('report of a sweep: twice the same bytes apart from the date, and the plots that it links', () => {
  const folder = join(temporaryFolder(), 'copy');
  cpSync(join(ROOT, 'results/h200/opt-66b-union'), folder, { recursive: true });
  const read = (): string[] =>
    ['report.html', 'report.md'].map((f) => readFileSync(join(folder, f), 'utf8').replace(DATE, ''));
  const first = runCli(['report', folder, '--device-spec', 'h200']);
  expect(first.status, first.stderr).toBe(0);
  expect(first.stdout.trim()).toBe(join(folder, 'report.html'));
  const before = read();
  expect(runCli(['report', folder, '--device-spec', 'h200']).status).toBe(0);
  expect(read()).toEqual(before);

  const [html = '', markdown = ''] = before;
  expect(html).toContain('polar-map-predicted');
  expect(readFileSync(join(folder, 'polar-map.csv'), 'utf8')).toMatch(
    /^opt-66b,kernels,NVIDIA H200,64,1920,polar,2\.71/m,
  );
  const plots = [...markdown.matchAll(/\]\((plots\/[^)]+)\)/g)].map((m) => m[1] ?? '');
  expect(plots.length).toBeGreaterThan(4);
  for (const plot of plots) expect(readFileSync(join(folder, plot), 'utf8')).toMatch(/^<svg/);
  // What the folder held is as it was: resuming, comparing and merging go on.
  expect(readFileSync(join(folder, 'rows.csv'), 'utf8')).toBe(
    readFileSync(join(ROOT, 'results/h200/opt-66b-union/rows.csv'), 'utf8'),
  );
  expect(readdirSync(folder).some((name) => name.startsWith('.lock'))).toBe(false);
});

test('the committed report comes out again, byte for byte apart from its date', () => {
  const committed = join(ROOT, 'results/h200/paper');
  const again = join(temporaryFolder(), 'again');
  const { status, stderr } = runCli(['report', committed, '--out', again]);
  expect(status, stderr).toBe(0);
  for (const file of ['report.html', 'report.md']) {
    const [before, after] = [committed, again].map((f) =>
      readFileSync(join(f, file), 'utf8').replace(DATE, ''),
    );
    expect(after === before, `${file} differs: run polar-bench report results/h200/paper`).toBe(true);
  }
});

test('--out leaves the result folder alone', () => {
  const out = join(temporaryFolder(), 'out');
  const run = runCli(['report', join(ROOT, 'results/cpu/llama-3-8b'), '--out', out]);
  expect(run.status, run.stderr).toBe(0);
  expect(existsSync(join(out, 'report.html'))).toBe(true);
  expect(existsSync(join(ROOT, 'results/cpu/llama-3-8b/report.html'))).toBe(false);
});

test('what is no result folder, or was tampered with, is refused', () => {
  const folder = temporaryFolder();
  const none = runCli(['report', folder]);
  expect(none.status).toBe(2);
  expect(none.stderr).toMatch(/Expected a result folder for report, got .* without rows\.csv/);
  writeFileSync(join(folder, 'rows.csv'), 'a,b\r\n1,2\r\n');
  expect(runCli(['report', folder])).toMatchObject({ status: 2, stderr: expect.stringContaining('E_TRACE') });
  const spec = runCli(['report', folder, '--device-spec', 'h2000']);
  expect(spec.status).toBe(2);
  expect(spec.stderr).toContain('h200');
});

const binary = findChromium();

const missing = binary === null ? ', skipped: not installed (apt-get install chromium)' : '';

describe.skipIf(binary === null)(`in headless Chromium${missing}`, () => {
  // Not temporaryFolder: that one is gone after the first test.
  let folder = '';
  let page: Chromium;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'polar-bench-page-'));
    // What `reproduce` would have written for these rows, so that the page has verdicts as well.
    const results = join(folder, 'results');
    cpSync(join(ROOT, 'results/h200/opt-66b-union'), results, { recursive: true });
    const rows = readRowsCsv(join(results, 'rows.csv')).map((row, i) => ({ row, line: i + 2 }));
    const data = { rows, breakdown: [], models: [loadModel('opt-66b')] };
    writeClaims(
      results,
      allClaims().map((claim) => evaluateClaim(claim, 'full', data)),
    );
    const out = join(folder, 'out');
    const run = runCli(['report', results, '--out', out, '--device-spec', 'h200']);
    if (run.status !== 0) throw new Error(run.stderr);
    page = new Chromium(binary ?? '');
  });

  afterAll(async () => {
    await page.close();
    rmSync(folder, { recursive: true });
  });

  test.each([
    [360, false],
    [360, true],
    [1280, false],
    [1280, true],
  ])('%i px wide, dark %s: nothing overflows, nothing complains', async (width, dark) => {
    await page.open(join(folder, 'out/report.html'), width, 800, dark);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    expect(await page.evaluate('document.querySelectorAll("figure svg").length')).toBeGreaterThan(5);
    expect(await page.evaluate('document.querySelectorAll("#verdicts tbody tr").length')).toBe(
      allClaims().length,
    );
    const background = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    expect(background).toBe(dark ? 'rgb(23, 24, 26)' : 'rgb(255, 255, 255)');
    // The variables reach the pictures: a text of an axis is readable on either background.
    const ink = await page.evaluate<string>(
      'getComputedStyle(document.querySelector("#union svg text")).fill',
    );
    expect(ink).toBe(dark ? 'rgb(213, 213, 216)' : 'rgb(51, 51, 51)');
    expect(page.complaints).toEqual([]);
  });
});

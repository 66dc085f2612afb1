import { resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { breakdownFigures, rooflineFigure } from '../../../../src/report/page/machine-figures.js';
import { densityFigures, scalingFigures } from '../../../../src/report/page/row-figures.js';
import { type ReportInput, reportDocument, sampleLines } from '../../../../src/report/page/page.js';
import { readRowsCsv, readSamples } from '../../../../src/sinks/read.js';
import { reportHtml } from '../../../../src/sinks/report-html.js';
import type { ReportDocument } from '../../../../src/report/page/document.js';
import { renderPlots } from '../../../../src/sinks/report-plots.js';
import { reportMarkdown } from '../../../../src/sinks/report-markdown.js';
import { HOSTILE, hostileRows, skippedRow } from '../../sinks/sample-rows.js';

const RESULTS = resolve(import.meta.dirname, '../../../../results');
const rowsOf = (folder: string) => readRowsCsv(resolve(RESULTS, folder, 'rows.csv'));
const numbered = (folder: string) => rowsOf(folder).map((row, i) => ({ row, line: i + 2 }));

const input = (over: Partial<ReportInput> = {}): ReportInput => ({
  name: 'test',
  rows: rowsOf('h200/opt-66b-paper'),
  claims: [],
  breakdown: [],
  predicted: [],
  unions: [],
  environment: { run_id: 'r', device: { name: 'NVIDIA H200' }, argv: ['sweep', '--preset', 'paper'] },
  ceilings: { readGbPerS: 4700, matrixTflopPerS: 700 },
  commands: ['polar-bench sweep --preset paper'],
  ...over,
});

describe('figures from rows', () => {
  test('a density sweep gives one figure per scope, with the ideal line', () => {
    const figures = densityFigures(numbered('h200/opt-66b-paper'));
    expect(figures.map((f) => f.title)).toEqual([
      'opt-66b, attention, B=64, N=1920: speedup against density',
      'opt-66b, mlp-up, B=64: speedup against density',
      'opt-66b, mlp-down, B=64: speedup against density',
    ]);
    const [attention] = figures;
    if (attention?.plot.kind !== 'lines') throw new Error('no lines');
    expect(attention.plot.series).toEqual(['attention/selective-head', 'attention/gather-dense', 'ideal']);
    const ideal = attention.plot.points.filter((p) => p.series === 'ideal');
    expect(ideal[0]?.y).toBeCloseTo(72 / 7, 9);
    // The dense rows are in the table, as what all others are compared with.
    expect(attention.table.rows[0]?.[0]).toBe('attention/dense');
    expect(attention.alt).toContain('attention/selective-head from 9.43x at 0.0972 to 0.993x at 1.00');
  });

  test('a sweep over batch sizes gives lines against the batch, none against a single length', () => {
    expect(scalingFigures(numbered('h200/opt-66b-union')).map((f) => f.title)).toEqual([
      'opt-66b, attention, N=1920: speedup against batch size',
      'opt-66b, mlp: speedup against batch size',
    ]);
    expect(densityFigures(numbered('h200/opt-66b-union'))).toEqual([]);
  });

  test('shares of a step are one figure per kernel with two batch sizes or more', () => {
    const part = (batch: number, module: string, share: number) => ({
      schema_version: 1,
      run_id: 'r',
      model: 'm',
      batch_size: batch,
      kv_len: 64,
      variant: 'dense',
      kernel: 'step/dense',
      module,
      latency_us: 1,
      share,
      active_heads: 8,
      active_neurons: 96,
    });
    const two = [
      part(1, 'attention', 0.1),
      part(1, 'mlp', 0.9),
      part(4, 'attention', 0.4),
      part(4, 'mlp', 0.6),
    ];
    const [figure, ...others] = breakdownFigures(two);
    expect(others).toEqual([]);
    expect(figure?.table.rows).toEqual([
      ['1', '10.0', '90.0'],
      ['4', '40.0', '60.0'],
    ]);
    expect(figure?.alt).toContain('batch 4: attention 40.0 %, MLP 60.0 %');
    expect(breakdownFigures(two.slice(0, 2))).toEqual([]);
  });

  test('without ceilings there is no roof to draw', () => {
    expect(rooflineFigure(numbered('h200/opt-66b-union'), null)).toEqual([]);
  });
});

describe('the samples behind a row', () => {
  test.each(['h200/opt-66b-paper', 'h200/opt-66b-union', 'cpu/llama-3-8b'])('%s', (folder) => {
    const rows = rowsOf(folder);
    const { records } = readSamples(resolve(RESULTS, folder, 'samples.jsonl'));
    for (const [i, line] of sampleLines(rows).entries()) {
      const { cell } = records[line - 1] ?? {};
      expect([cell?.scope, cell?.batchSize, cell?.kvLen]).toEqual([
        rows[i]?.scope,
        rows[i]?.batch_size,
        rows[i]?.kv_len,
      ]);
      expect(cell?.candidates.map((c) => c.kernel)).toContain(rows[i]?.kernel);
    }
  });
});

describe('the page', () => {
  const date = '2026-01-31T09:30:00.000Z';
  const html = async (document: ReportDocument, when = date): Promise<string> =>
    reportHtml(document, when, await renderPlots(document));
  const render = (over: Partial<ReportInput> = {}) => html(reportDocument(input(over)));

  test('needs nothing from anywhere: no script, no address, every link inside of it', async () => {
    const page = await render();
    expect(page).not.toMatch(/<script|<iframe|@import|url\(/i);
    // The names of XML namespaces are the only addresses.
    const addresses = page.match(/https?:\/\/[^"'\s<)]+/g) ?? [];
    expect(new Set(addresses)).toEqual(
      new Set(['http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink']),
    );
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]));
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map((m) => m[1]);
    expect(links.length).toBeGreaterThan(50);
    for (const link of links) expect(ids).toContain(link);
  });

  test('every picture has a text alternative and a table', async () => {
    const page = await render();
    const figures = page
      .split('<figure ')
      .slice(1)
      .map((f) => f.split('</figure>')[0] ?? '');
    expect(figures.length).toBe(4);
    for (const figure of figures) {
      expect(figure).toMatch(/role="img" aria-label="[^"]{40,}/);
      expect(figure).toMatch(/<table>\n<caption>/);
    }
  });

  test('ids are there once', async () => {
    const ids = [...(await render()).matchAll(/ id="([^"]+)"/g)].map((m) => m[1]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('models of like or endless names have figures and files of their own', () => {
    const twins = ['a b', 'a-b', 'x'.repeat(5000)].flatMap((model) =>
      rowsOf('h200/opt-66b-union').map((row) => ({ ...row, model })),
    );
    const ids = reportDocument(input({ rows: twins })).sections.flatMap((s) => s.figures.map((f) => f.id));
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9.-]{1,120}$/);
  });

  test('the same results give the same bytes; only the date differs', async () => {
    const other = await html(reportDocument(input()), '2027-02-03T04:05:06.000Z');
    expect(other.replaceAll('2027-02-03T04:05:06.000Z', date)).toBe(await render());
  });

  test('untrusted text stays text, in HTML and in Markdown', async () => {
    const document = reportDocument(input({ rows: [...hostileRows, skippedRow], name: HOSTILE.markdown }));
    const page = await html(document);
    expect(page).not.toContain('<b> ');
    expect(page).toContain('&lt;b&gt;');
    expect(page).not.toContain('\u001b');
    expect(page).not.toContain('\u202e');
    const markdown = reportMarkdown(document, date, (f) => `plots/${f.id}.svg`);
    expect(markdown).not.toContain('\u001b');
    expect(markdown).not.toMatch(/[^\\]<b>/);
  });

  test('a folder in which nothing was measured still has caveats', async () => {
    const page = await render({ rows: [], environment: null, ceilings: null });
    expect(page).toContain('Nothing was measured');
    expect(page).toContain('id="caveats"');
  });

  test('Markdown links the pictures and tells each in words', () => {
    const markdown = reportMarkdown(reportDocument(input()), date, (f) => `plots/${f.id}.svg`);
    expect(markdown.match(/^!\[.{40,}\]\(plots\/[a-z0-9.-]+\.svg\)$/gm)).toHaveLength(4);
    expect(markdown).toContain('`polar-bench sweep --model opt-66b --scope attention');
  });
});

test('two models of one cell are two figures, each with all of its rows', () => {
  const rows = numbered('h200/opt-66b-union').filter(({ row }) => row.scope === 'attention');
  const both = [
    ...rows,
    ...rows.map(({ row, line }) => ({ row: { ...row, model: 'twin' }, line: line + 50 })),
  ];
  const figures = scalingFigures(both);
  expect(figures.map((f) => f.table.rows.length)).toEqual([rows.length, rows.length]);
});

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { parse } from 'csv-parse/sync';
import { describe, expect, test } from 'vitest';

import { slowDenseNote } from '../../../src/core/dense-step.js';
import { displayRow } from '../../../src/sinks/display.js';
import { readRowsCsv } from '../../../src/sinks/read.js';

const ROOT = resolve(import.meta.dirname, '../../..');
const README = readFileSync(resolve(ROOT, 'README.md'), 'utf8');
const rowsOf = (folder: string) => readRowsCsv(resolve(ROOT, 'results', folder, 'rows.csv'));

describe('numbers in README.md are those of the committed results', () => {
  test('the table of the H200', () => {
    const rows = rowsOf('h200/paper').filter((r) => r.model === 'opt-66b' && r.kv_len !== 128);
    const lines = [...README.matchAll(/^\| (\d+) \| ([\d.]+) % \| ([\d.]+)x \| ([\d.]+)x \|$/gm)];
    expect(lines.length).toBe(4);
    for (const [, batch, union, mlp, attention] of lines) {
      const at = rows.filter((r) => r.batch_size === Number(batch));
      const published = at.find(
        (r) => r.kernel === 'mlp/selective' && r.density_source.startsWith('published:'),
      );
      const heads = at.find((r) => r.kernel === 'attention/selective-head' && r.active_heads === 21);
      expect(((published?.mlp_density ?? 0) * 100).toFixed(1)).toBe(union);
      expect(published?.speedup?.toFixed(2)).toBe(mlp);
      expect(heads?.speedup?.toFixed(2)).toBe(attention);
    }
  });

  test('the sentences about decode steps on the H200', () => {
    const rows = rowsOf('h200/paper');
    const step = (model: string, batch: number, variant: string) => {
      const kvLen = model === 'opt-66b' ? 1920 : 8192;
      const row = rows.find(
        (r) =>
          r.kernel === `step/${variant}` && r.model === model && r.batch_size === batch && r.kv_len === kvLen,
      );
      expect(row?.status).toBe('ok');
      const [ratio, low, high] = [row?.speedup, row?.speedup_ci_low, row?.speedup_ci_high].map((v) =>
        v?.toFixed(2),
      );
      const excess = /[\d.]+ %/.exec(slowDenseNote(row?.warnings ?? null) ?? '')?.[0];
      return { ratio: `${ratio}x`, interval: `${ratio}x (${low}-${high})`, excess };
    };
    const text = README.replaceAll(/\s+/g, ' ');
    const polar = step('opt-66b', 64, 'polar').interval;
    expect(text).toContain(
      `(\`polar\`) is ${step('opt-66b', 2, 'polar').ratio} as fast at batch 2 and ${polar} at batch 64`,
    );
    const [mlp, heads] = ['mlp-sparse', 'head-sparse'].map((v) =>
      [2, 64].map((b) => step('opt-66b', b, v).ratio),
    );
    const first = step('opt-66b', 1, 'polar');
    expect(text).toContain(
      `Batch 1 shows ${first.ratio} with a warning: its dense step spent ${first.excess} of its time`,
    );
    // What the other sentences quote has no such warning.
    for (const batch of [2, 64]) expect(step('opt-66b', batch, 'polar').excess).toBeUndefined();
    expect(text).toContain(
      `skipping neurons alone gives ${mlp?.[0]} at batch 2 and ${mlp?.[1]} at batch 64, skipping heads alone ${heads?.[0]} and ${heads?.[1]}`,
    );
    const llama = (batch: number) => step('llama-3.1-70b', batch, 'head-sparse');
    expect(text).toContain(`${llama(64).ratio} at batch 64 and ${llama(192).interval} at batch 192`);
    expect(text).toContain(`${rows.length} rows`);
  });

  test('verdict, paper and bound of LLaMA-3.1-70B are those of claims.csv', () => {
    const text = readFileSync(resolve(ROOT, 'results/h200/paper/claims.csv'), 'utf8');
    const claims = parse(text, { columns: true }) as Record<string, string>[];
    const claim = claims.find((c) => c['claim'] === 'fig7b');
    expect(claim?.['verdict']).toBe('not reproduced');
    expect(Number(claim?.['paper_value']).toFixed(2)).toBe('1.51');
    expect(Number(claim?.['bound']).toFixed(2)).toBe('1.41');
  });

  test('the table of the CPU', () => {
    const shown = rowsOf('cpu/llama-3-8b').map((row) => Object.values(displayRow(row)).join(' '));
    const table = README.slice(README.indexOf('<!-- table:start -->'), README.indexOf('<!-- table:end -->'));
    const lines = table.split('\n').filter((line) => /^ +\d+ /.test(line));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect(shown).toContain(line.trim().split(/ {2,}/).join(' '));
  });
});

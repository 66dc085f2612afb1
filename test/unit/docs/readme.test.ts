import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { displayRow } from '../../../src/sinks/display.js';
import { readRowsCsv } from '../../../src/sinks/read.js';

const ROOT = resolve(import.meta.dirname, '../../..');
const README = readFileSync(resolve(ROOT, 'README.md'), 'utf8');
const rowsOf = (folder: string) => readRowsCsv(resolve(ROOT, 'results', folder, 'rows.csv'));

describe('numbers in README.md are those of the committed results', () => {
  test('the table of the H200', () => {
    const rows = rowsOf('h200/opt-66b-union');
    const lines = [...README.matchAll(/^\| (\d+) \| ([\d.]+) % \| ([\d.]+)x \| ([\d.]+)x \|$/gm)];
    expect(lines.length).toBe(4);
    for (const [, batch, union, mlp, attention] of lines) {
      const of = (kernel: string) => rows.find((r) => r.kernel === kernel && r.batch_size === Number(batch));
      expect(((of('mlp/selective')?.mlp_density ?? 0) * 100).toFixed(1)).toBe(union);
      expect(of('mlp/selective')?.speedup?.toFixed(2)).toBe(mlp);
      expect(of('attention/selective-head')?.speedup?.toFixed(2)).toBe(attention);
      expect(of('attention/selective-head')?.active_heads).toBe(21);
    }
  });

  test('the table of the CPU', () => {
    const shown = rowsOf('cpu/llama-3-8b').map((row) => Object.values(displayRow(row)).join(' '));
    const table = README.slice(README.indexOf('<!-- table:start -->'), README.indexOf('<!-- table:end -->'));
    const lines = table.split('\n').filter((line) => /^ +\d+ /.test(line));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect(shown).toContain(line.trim().split(/ {2,}/).join(' '));
  });
});

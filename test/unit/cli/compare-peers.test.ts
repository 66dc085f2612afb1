import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterAll, beforeEach, describe, expect, it } from 'vitest';

import { runCli } from '../../../src/cli/program.js';
import { csvHeader } from '../../../src/sinks/csv.js';
import { readRowsCsv } from '../../../src/sinks/read.js';
import { recordedTerminal, type RecordedTerminal } from '../../support/terminal.js';

/** Written by scripts/peers.py on an H200. */
const PEERS = resolve(import.meta.dirname, '../../fixtures/peers/rows.csv');

const root = mkdtempSync(join(tmpdir(), 'polar-peers-'));
afterAll(() => rmSync(root, { recursive: true }));

let terminal: RecordedTerminal;
beforeEach(() => {
  terminal = recordedTerminal();
});

const compare = (base: string, head: string, ...flags: string[]): Promise<number> =>
  runCli(['node', 'polar-bench', 'compare', base, head, ...flags], terminal);

describe('rows of scripts/peers.py', () => {
  it('keep every promise of docs/columns.md', () => {
    const rows = readRowsCsv(PEERS);
    expect(rows.map((row) => row.kernel)).toEqual([
      'external/sdpa-cudnn',
      'external/sdpa-flash',
      'external/sdpa-cudnn',
      'external/sdpa-flash',
      'external/torch-matmul',
      'external/torch-matmul',
    ]);
    expect(rows.every((row) => row.status === 'ok')).toBe(true);
    // B=64 N=1920 H=72 d_h=128: K and V once, q and the output, two bytes each.
    expect(rows[0]?.bytes_moved).toBe(2 * (2 * 64 * 72 * 1920 * 128 + 2 * 64 * 72 * 128));
    expect(rows[0]?.flops).toBe(4 * 64 * 72 * 1920 * 128);
    expect(rows[4]?.bytes_moved).toBe(2 * (36864 * 9216 + 64 * (9216 + 36864)));
  });

  it('are read by compare, which sees a kernel become slower', async () => {
    expect(await compare(PEERS, PEERS)).toBe(0);
    expect(terminal.out()).toContain('external/sdpa-cudnn');
    const [header, ...lines] = readFileSync(PEERS, 'utf8').split('\r\n');
    expect(`${header ?? ''}\r\n`).toBe(csvHeader());
    const slower = lines.map((line) =>
      line.includes('external/sdpa-cudnn,64,1920')
        ? line.replace(/973\.\d+,973\.\d+,974\.\d+,/, '1100,1099,1101,')
        : line,
    );
    expect(slower).not.toEqual(lines);
    const path = join(root, 'slower.csv');
    writeFileSync(path, [header, ...slower].join('\r\n'));
    expect(await compare(PEERS, path)).toBe(5);
    expect(terminal.out()).toMatch(/external\/sdpa-cudnn B=64 N=1920.*\+13\.0 %.*regressed/);
  });
});

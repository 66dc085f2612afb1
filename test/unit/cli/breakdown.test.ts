import { describe, expect, test } from 'vitest';

import { printBreakdown } from '../../../src/cli/breakdown.js';
import type { Terminal } from '../../../src/cli/terminal.js';
import { rowsOf } from '../../../src/pipeline.js';
import { breakdownRows } from '../../../src/report/step.js';
import { stepRecord } from '../report/measured-cell.js';

const rows = rowsOf(stepRecord(), {
  run: { runId: 'r1', deviceName: 'd', driverVersion: null },
  ceilings: { readGbPerS: 100, matrixTflopPerS: 1, details: {} },
  maxNoise: 0.01,
  reproCommand: () => 'again',
});

async function printed(
  format: 'table' | 'md' | 'csv' | 'json' | 'jsonl',
  parts = breakdownRows(stepRecord(), 'r1'),
) {
  let text = '';
  const stdout = { write: (piece: string) => ((text += piece), true) } as unknown as Terminal['stdout'];
  await printBreakdown(parts, rows, format, { env: {}, stdout, stderr: stdout, quiet: true });
  return text;
}

describe('the table of shares', () => {
  test('has a line per step: its parts in per cent, and their sum against the median of the step', async () => {
    const lines = (await printed('table')).split('\n');
    expect(lines[1]).toMatch(/^shares of a decode step, %/);
    expect(lines[3]?.split('│').map((s) => s.trim())).toEqual([
      '',
      'model',
      'batch',
      'kv_len',
      'variant',
      'attention',
      'mlp',
      'sum',
      '',
    ]);
    const body = lines.filter((line) => line.includes('test-shape'));
    expect(
      body.map((line) =>
        line
          .split('│')
          .map((s) => s.trim())
          .slice(4, -1),
      ),
    ).toEqual([
      ['dense', '75.0', '25.0', '100.0'],
      ['polar', '75.0', '25.0', '100.0'],
    ]);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(120);
  });

  test('of the longest built-in name with all six parts stays within 120 columns', async () => {
    const [first] = breakdownRows(stepRecord(), 'r1');
    const modules = ['attention', 'qkv', 'out-proj', 'mlp', 'routers', 'other'];
    const parts = modules.map((module) => ({
      ...first!,
      model: 'llama-3.1-70b',
      variant: 'head-sparse',
      kv_len: 131_072,
      module,
    }));
    for (const line of (await printed('table', parts)).split('\n')) {
      expect(line.length).toBeLessThanOrEqual(120);
    }
  });

  test('is a pipe table in Markdown', async () => {
    expect(await printed('md')).toContain('| test-shape | 2 | 128 | polar | 75.0 | 25.0 | 100.0 |');
  });

  test('is left to breakdown.csv where a program reads stdout, and where there are no parts', async () => {
    for (const format of ['csv', 'json', 'jsonl'] as const) expect(await printed(format)).toBe('');
    expect(await printed('table', [])).toBe('');
  });

  test('says "-" for a part that a step lacks, and for a sum without a median', async () => {
    const [first, ...rest] = breakdownRows(stepRecord(), 'other run');
    expect(await printed('md', [{ ...first!, module: 'qkv' }, ...rest])).toContain('| 75.0 | 25.0 | - | - |');
  });
});

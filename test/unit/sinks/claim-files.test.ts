import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { ClaimResult } from '../../../src/core/claim.js';
import { TraceError } from '../../../src/core/errors.js';
import { claimLine, claimNotes } from '../../../src/report/claim-text.js';
import { readBreakdown, readClaims, writeClaims } from '../../../src/sinks/claim-files.js';
import { claimSvg } from '../../../src/sinks/plots-claim.js';
import { standalone } from '../../../src/sinks/plot-style.js';
import { temporaryFolder } from '../../support/cli.js';

const claim: ClaimResult = {
  id: 'fig4b',
  figure: 'Fig. 4b',
  statement: 'Selective attention is 2.8x faster, "up to", <b>always</b>',
  scale: 'small',
  setting: 'opt-66b, batch 64, N 1920',
  verdict: 'exceeded',
  reason: 'because; of, this',
  test: 'number',
  quantity: 'speedup at density 0.3',
  unit: 'x',
  value: 3.35,
  interval: { low: 3.34, high: 3.36 },
  paperValue: 2.77,
  paperSource: 'Fig. 4b, A100',
  bound: 2.5,
  boundUnderPaper: true,
  slowBaseline: null,
  axis: 'density',
  valueTitle: 'speedup (x)',
  points: [
    {
      x: 0.1,
      value: 9,
      interval: { low: 8.9, high: 9.1 },
      paper: 5.5,
      bound: 10,
      rows: [3, 2],
      reason: null,
    },
    { x: 0.3, value: 3.35, interval: null, paper: null, bound: null, rows: [4], reason: null },
    { x: 0.5, value: null, interval: null, paper: 1.8, bound: null, rows: [], reason: 'skipped: too large' },
  ],
};
const blocked: ClaimResult = {
  ...claim,
  id: 'fig13',
  verdict: 'not measurable here',
  test: null,
  value: null,
  interval: null,
  paperValue: null,
  bound: null,
  boundUnderPaper: false,
  points: [],
};

function written(claims: readonly ClaimResult[]): string {
  const folder = temporaryFolder();
  writeClaims(folder, claims);
  return folder;
}

describe('claims.csv and the points of each claim', () => {
  test('read back as they were written', () => {
    expect(readClaims(written([claim, blocked]))).toEqual([claim, blocked]);
  });

  test('the points name the axis and the lines of rows.csv', () => {
    const lines = readFileSync(join(written([claim]), 'claims/fig4b.csv'), 'utf8').split('\r\n');
    expect(lines[0]).toBe('density,value,ci_low,ci_high,paper_value,bound,rows,reason');
    expect(lines[1]).toBe('0.1,9,8.9,9.1,5.5,10,3 2,');
  });

  test('claims.csv names the rows that a number stands on', () => {
    const [header = '', first = ''] = readFileSync(join(written([claim]), 'claims.csv'), 'utf8').split(
      '\r\n',
    );
    expect(first.split(',')[header.split(',').indexOf('rows')]).toBe('4');
  });

  test('a folder without claims has none; one with something else is refused', () => {
    const folder = temporaryFolder();
    expect(readClaims(folder)).toEqual([]);
    writeFileSync(join(folder, 'claims.csv'), 'a,b\r\n1,2\r\n');
    expect(() => readClaims(folder)).toThrow(TraceError);
  });

  test('an id that is no file name is refused, so that no other file is opened', () => {
    const folder = written([claim]);
    const path = join(folder, 'claims.csv');
    writeFileSync(path, readFileSync(path, 'utf8').replace('1,fig4b,', '1,../../etc/passwd,'));
    expect(() => readClaims(folder)).toThrow(TraceError);
  });
});

test('breakdown.csv', () => {
  const folder = temporaryFolder();
  expect(readBreakdown(folder)).toEqual([]);
  writeFileSync(
    join(folder, 'breakdown.csv'),
    'schema_version,run_id,model,batch_size,kv_len,variant,kernel,module,latency_us,share,active_heads,active_neurons\r\n1,r,opt-66b,64,1920,dense,step/dense,attention,12.5,0.671,72,36864\r\n',
  );
  expect(readBreakdown(folder)).toEqual([
    {
      run_id: 'r',
      model: 'opt-66b',
      batch_size: 64,
      kv_len: 1920,
      variant: 'dense',
      kernel: 'step/dense',
      module: 'attention',
      latency_us: 12.5,
      share: 0.671,
      schema_version: 1,
      active_heads: 72,
      active_neurons: 36864,
    },
  ]);
});

describe('what people see of a claim', () => {
  test('one line: numbers with units, a mark where the bound lies under the paper', () => {
    expect(claimLine(claim)).toEqual(['fig4b', 'Fig. 4b', 'exceeded', '3.35x 3.34-3.36', '2.77x', '2.50x !']);
    expect(claimLine(blocked).slice(2)).toEqual(['not measurable here', '-', '-', '-']);
  });

  test('a reason that claims share is said once', () => {
    expect(claimNotes([claim, blocked])).toEqual(['fig4b, fig13: because; of, this']);
  });

  test('the picture has our line, the paper and the bound, and no markup of its texts', async () => {
    const svg = await claimSvg(claim);
    expect(svg).toContain('fig4b: exceeded: 3.35x 3.34-3.36, paper 2.77x');
    expect(svg).toContain('&lt;b&gt;');
    for (const series of ['this machine', 'paper', 'bound']) expect(svg).toContain(`>${series}</text>`);
    expect(svg).toContain('var(--plot-blue');
    expect(standalone(svg)).not.toContain('var(');
    expect(await claimSvg(claim, false)).not.toContain('exceeded');
  });
});

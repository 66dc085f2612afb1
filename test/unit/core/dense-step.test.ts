import { describe, expect, it } from 'vitest';
import type { Candidate } from '../../../src/core/cell.js';
import type { CandidateOutcome } from '../../../src/core/outcome.js';
import { rowsOf } from '../../../src/pipeline.js';
import { slowDenseNote, slowDenseStep } from '../../../src/core/dense-step.js';
import { failed, okOutcome, outcomeOf, stepRecord } from '../report/measured-cell.js';

const [dense, polar] = stepRecord().cell.candidates as [Candidate, Candidate];
const heads: Candidate = { ...dense, kernel: 'step/head-sparse', variant: 'head-sparse', activeHeads: 4 };

/** Nanoseconds of qkv, out-proj, mlp, attention and what is left. */
const parts = (qkv: number, out: number, mlp: number, attention: number, other: number): CandidateOutcome =>
  okOutcome([], {
    parts: [
      { name: 'attention', ns: attention },
      { name: 'qkv', ns: qkv },
      { name: 'out-proj', ns: out },
      { name: 'mlp', ns: mlp },
      { name: 'routers', ns: 0 },
      { name: 'other', ns: other },
    ],
  });
const base = parts(200, 100, 500, 150, 50); // 1000 in all

describe('slowDenseStep', () => {
  it('compares qkv and out-proj with every variant, the MLP where as many neurons are active', () => {
    const fast = parts(180, 100, 400, 40, 50);
    // 20 of qkv and 100 of the MLP in 1000
    expect(slowDenseStep([dense, heads], [base, fast])).toBe(
      'the dense step spent 12.0 % of its time on mlp, qkv beyond what step/head-sparse took for the same: speedups over it may be too high by as much',
    );
    // the MLP of polar has fewer neurons, so only 20 of qkv count: 2 %
    expect(slowDenseStep([dense, polar], [base, fast])).toBeNull();
    // 2 % + 1.1 % of out-proj
    expect(slowDenseStep([dense, polar], [base, parts(180, 89, 400, 40, 50)])).toContain(
      '3.1 % of its time on qkv, out-proj',
    );
  });

  it('does not compare an MLP whose layers differ, whatever their mean', () => {
    const uneven = { ...heads, layerActiveNeurons: [1, 2] };
    expect(slowDenseStep([dense, uneven], [base, parts(200, 100, 100, 40, 50)])).toBeNull();
  });

  it('compares attention where no head is left out', () => {
    const mlp: Candidate = { ...polar, kernel: 'step/mlp-sparse', activeHeads: dense.activeHeads };
    expect(slowDenseStep([dense, mlp], [base, parts(200, 100, 100, 100, 50)])).toContain(
      '5.0 % of its time on attention',
    );
  });

  it('names the variant that shows the most, wherever the dense step stands', () => {
    const text = slowDenseStep(
      [polar, heads, dense],
      [parts(160, 100, 9, 9, 9), parts(190, 100, 400, 9, 9), base],
    );
    expect(text).toContain('11.0 % of its time on mlp, qkv beyond what step/head-sparse');
  });

  it('has nothing to say of a dense step that is as fast, or slower variants, or without a breakdown', () => {
    expect(slowDenseStep([dense, heads], [base, base])).toBeNull();
    expect(slowDenseStep([dense, heads], [base, parts(300, 200, 900, 40, 50)])).toBeNull();
    expect(slowDenseStep([dense, heads], [base, okOutcome([])])).toBeNull();
    expect(slowDenseStep([dense, heads], [base, failed()])).toBeNull();
    expect(slowDenseStep([dense, heads], [failed(), base])).toBeNull();
    expect(slowDenseStep([heads], [base])).toBeNull();
  });
});

describe('slowDenseNote', () => {
  it('is found among other warnings', () => {
    const text = slowDenseStep([dense, heads], [base, parts(180, 100, 400, 40, 50)]);
    expect(slowDenseNote(`stopped by --max-time; ${text}; and more`)).toBe(text);
    expect(slowDenseNote('stopped by --max-time')).toBeNull();
    expect(slowDenseNote(null)).toBeNull();
  });
});

describe('rows of a cell with a slow dense step', () => {
  const context = {
    run: { runId: 'r1', deviceName: 'test device', driverVersion: null },
    ceilings: { readGbPerS: 100, matrixTflopPerS: 1, details: {} },
    maxNoise: 0.01,
    reproCommand: () => 'again',
  };

  it('all say so, and that the speedups may be too high', () => {
    const record = stepRecord();
    const [first, second] = record.outcome.candidates;
    if (first?.status !== 'ok' || second?.status !== 'ok') throw new Error('not ok');
    const timed = (ns: number, qkv: number) => [
      { name: 'qkv', ns: qkv },
      { name: 'other', ns: ns - qkv },
    ];
    const outcome = outcomeOf([
      { ...first, parts: timed(4_000, 1_000) },
      { ...second, parts: timed(2_000, 600) },
    ]);
    // 400 of 4000 ns
    for (const row of rowsOf({ ...record, outcome }, context)) {
      expect(row.warnings).toContain(
        'the dense step spent 10.0 % of its time on qkv beyond what step/polar took',
      );
    }
  });
});

import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import type { CandidateOk, CellRecord } from '../../../src/core/outcome.js';
import { rowsOf } from '../../../src/pipeline.js';
import { checkRow } from '../../../src/report/check-row.js';
import { breakdownRows, stepWarnings } from '../../../src/report/step.js';
import { attentionCell, cellOf, failed, okOutcome, outcomeOf, SHAPE, stepRecord } from './measured-cell.js';

const context = {
  run: { runId: 'r1', deviceName: 'test device', driverVersion: null },
  ceilings: { readGbPerS: 100, matrixTflopPerS: 1, details: {} },
  maxNoise: 0.01,
  reproCommand: () => 'again',
};
const latency = { medianNs: 4_000 };

function changed(change: Partial<CandidateOk>): CellRecord {
  const record = stepRecord();
  const [dense, polar] = record.outcome.candidates as CandidateOk[];
  return { ...record, outcome: outcomeOf([dense!, { ...polar!, ...change }]) };
}

describe('rows of a step', () => {
  it('have tokens per second, resident layers and the speedup over the dense step', () => {
    const [dense, polar] = rowsOf(stepRecord(), context);
    // Two sequences, one token each: 2 in 4 us = 500,000/s
    expect(dense).toMatchObject({ scope: 'step', tokens_per_s: 500_000, resident_layers: 2, warnings: null });
    expect(polar).toMatchObject({ tokens_per_s: 1_000_000, resident_layers: 1, speedup: 2, kv_len: 128 });
    expect(polar).toMatchObject({ head_density: 0.5, mlp_density: 0.5, active_neurons: 48 });
  });

  it('that is not ok has neither', () => {
    const record = { ...stepRecord(), outcome: outcomeOf([failed(), failed()]) };
    expect(rowsOf(record, context)[0]).toMatchObject({ tokens_per_s: null, resident_layers: null });
  });

  it('say that fewer layers than the model has were cycled', () => {
    expect(rowsOf(stepRecord(), context)[1]?.warnings).toBe(
      'single-device sum over 2 layers, 1 resident layer cycled',
    );
    expect(rowsOf(changed({ residentLayers: 2 }), context)[1]?.warnings).toBeNull();
  });

  it('say that the parts do not sum to the step', () => {
    const row = rowsOf(changed({ residentLayers: null, parts: [{ name: 'mlp', ns: 1_938 }] }), context)[1];
    expect(row?.warnings).toBe('the parts sum to 96.9 % of the step');
  });

  it('without tokens per second, and tokens of anything else, are bugs', () => {
    const [row] = rowsOf(stepRecord(), context);
    expect(() => checkRow({ ...row!, tokens_per_s: null })).toThrow(InternalError);
    expect(() => checkRow({ ...row!, scope: 'layer' })).toThrow(InternalError);
  });
});

describe('stepWarnings', () => {
  const of = (...ns: number[]) =>
    stepWarnings(SHAPE, okOutcome([], { parts: ns.map((n) => ({ name: 'mlp', ns: n })) }), latency);

  it.each([
    [[4_000], 0],
    [[3_000, 1_119], 0],
    [[3_881], 0],
    [[3_000, 1_121], 1],
    [[3_879], 1],
  ])('parts of %j ns in a step of 4000 ns give %d', (ns, count) => {
    expect(of(...ns)).toHaveLength(count);
  });

  it('has nothing to say where nothing was measured, or more layers than the model has are resident', () => {
    expect(stepWarnings(SHAPE, failed(), null)).toEqual([]);
    expect(stepWarnings(SHAPE, okOutcome([], { residentLayers: 200 }), latency)).toEqual([]);
  });
});

describe('rows of a router', () => {
  it('have no baseline and no speedup, and are whole nevertheless', () => {
    const { key: _key, ...attention } = attentionCell([]);
    const candidate = {
      kernel: 'router/attention-topk',
      variant: 'head-sparse' as const,
      activeHeads: 4,
      activeNeurons: null,
      layerActiveNeurons: null,
      densitySource: 'flag',
    };
    const cell = cellOf({ ...attention, scope: 'router', kvLen: null, candidates: [candidate] });
    const record = { cell, outcome: outcomeOf([okOutcome([10, 11, 12])]), timestamp: 't' };
    expect(rowsOf(record, context)[0]).toMatchObject({
      status: 'ok',
      baseline_kernel: null,
      speedup: null,
      speedup_ci_low: null,
      tokens_per_s: null,
      resident_layers: null,
      warnings: null,
    });
  });
});

describe('breakdownRows', () => {
  it('are the parts of every step that is ok, in shares of their sum', () => {
    const rows = breakdownRows(stepRecord(), 'r1');
    expect(rows.map((r) => [r.kernel, r.module, r.latency_us, r.share, r.active_neurons])).toEqual([
      ['step/dense', 'attention', 3, 0.75, 96],
      ['step/dense', 'mlp', 1, 0.25, 96],
      ['step/polar', 'attention', 1.5, 0.75, 48],
      ['step/polar', 'mlp', 0.5, 0.25, 48],
    ]);
    expect(rows[0]).toMatchObject({ run_id: 'r1', model: 'test-shape', batch_size: 2, kv_len: 128 });
  });

  it('are none where a step failed or nobody asked', () => {
    expect(breakdownRows({ ...stepRecord(), outcome: outcomeOf([failed(), failed()]) }, 'r')).toEqual([]);
    expect(breakdownRows(changed({ parts: null }), 'r').every((r) => r.kernel === 'step/dense')).toBe(true);
  });
});

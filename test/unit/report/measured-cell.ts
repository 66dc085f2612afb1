import { cellKey, type Candidate, type Cell, type Variant } from '../../../src/core/cell.js';
import { blockDefaults, type ModelShape } from '../../../src/core/model-shape.js';
import type {
  CandidateIncorrect,
  CandidateNotMeasured,
  CandidateOk,
  CandidateOutcome,
  CellRecord,
  Outcome,
  StepPart,
  Verification,
} from '../../../src/core/outcome.js';

/** 8 query heads in 4 groups, 96 neurons. */
export const SHAPE: ModelShape = {
  name: 'test-shape',
  family: 'llama',
  numLayers: 2,
  hiddenSize: 64,
  intermediateSize: 96,
  numQoHeads: 8,
  numKvHeads: 4,
  headDim: 8,
  vocabSize: 100,
  activation: 'silu',
  gated: true,
  mlpBias: false,
  ...blockDefaults('llama'),
  criticalHeadDensity: { value: 0.5, source: 'test' },
  defaultMlpDensity: null,
  referenceKvLen: null,
  source: 'test',
};

const VARIANT_OF: Readonly<Record<string, Variant>> = { dense: 'dense', selective: 'head-sparse' };

function attentionCandidate(kernel: string): Candidate {
  const variant = VARIANT_OF[kernel.split(/[/-]/)[1] ?? ''] ?? 'head-sparse';
  const dense = variant === 'dense';
  return {
    kernel,
    variant,
    activeHeads: dense ? SHAPE.numQoHeads : 4,
    activeNeurons: null,
    layerActiveNeurons: null,
    densitySource: dense ? 'dense' : 'flag',
  };
}

export function cellOf(cell: Omit<Cell, 'key'>): Cell {
  return { key: cellKey(cell), ...cell };
}

/** An attention cell, batch 2 x 128 positions; sparse kernels compute 4 of 8 heads. */
export function attentionCell(kernels: readonly string[], model: ModelShape = SHAPE): Cell {
  return cellOf({
    model,
    backend: 'cpu',
    device: 0,
    scope: 'attention',
    batchSize: 2,
    kvLen: 128,
    dtype: 'bf16',
    cacheMode: 'cold',
    seed: 1,
    candidates: kernels.map(attentionCandidate),
  });
}

export const PASSED: Verification = {
  passed: true,
  maxAbsErr: 0.01,
  maxRelErr: 0.002,
  toleranceUsed: 0.4,
  rowsChecked: 16,
  rowsFailed: 0,
  worstRow: 3,
  repeatsEqual: true,
};

export function okOutcome(
  samplesNs: readonly (number | null)[],
  more: Partial<Omit<CandidateOk, 'status' | 'samplesNs'>> = {},
): CandidateOk {
  return {
    status: 'ok',
    verification: PASSED,
    samplesNs,
    clockMhz: samplesNs.map(() => null),
    runsPerSample: 10,
    rotationCopies: 3,
    samplesDiscarded: samplesNs.filter((v) => v === null).length,
    energyMj: null,
    residentLayers: null,
    parts: null,
    warnings: [],
    ...more,
  };
}

export function incorrect(maxRelErr: number = 0.5): CandidateIncorrect {
  const verification = {
    ...PASSED,
    passed: false,
    maxRelErr,
    rowsFailed: 16,
    toleranceUsed: maxRelErr * 100,
  };
  return { status: 'incorrect', reason: '16 of 16 rows beyond the tolerance', verification, warnings: [] };
}

export function failed(): CandidateNotMeasured {
  return { status: 'failed', code: 'E_CRASHED', reason: 'signal SIGSEGV', warnings: [] };
}

export function skipped(): CandidateNotMeasured {
  return { status: 'skipped', code: null, reason: 'needs 20 bytes, 10 are free', warnings: ['w'] };
}

export function outcomeOf(candidates: readonly CandidateOutcome[], more: Partial<Outcome> = {}): Outcome {
  return { candidates, stop: 'precise', warnings: [], ...more };
}

/** A decode step, dense and polar with other neurons in each of its two layers, both with their parts. */
export function stepRecord(): CellRecord {
  const dense: Candidate = {
    kernel: 'step/dense',
    variant: 'dense',
    activeHeads: 8,
    activeNeurons: 96,
    layerActiveNeurons: null,
    densitySource: 'dense',
  };
  const polar: Candidate = {
    ...dense,
    kernel: 'step/polar',
    variant: 'polar',
    activeHeads: 4,
    activeNeurons: 48,
    layerActiveNeurons: [32, 64],
    densitySource: 'flag',
  };
  const { key: _key, ...attention } = attentionCell([]);
  return {
    cell: cellOf({ ...attention, scope: 'step', candidates: [dense, polar] }),
    outcome: outcomeOf([
      okOutcome([4_000, 4_000], { residentLayers: 2, parts: PARTS }),
      okOutcome([2_000, 2_000], { residentLayers: 1, parts: PARTS.map((p) => ({ ...p, ns: p.ns / 2 })) }),
    ]),
    timestamp: '2025-01-01T00:00:00.000Z',
  };
}

const PARTS: readonly StepPart[] = [
  { name: 'attention', ns: 3_000 },
  { name: 'mlp', ns: 1_000 },
];

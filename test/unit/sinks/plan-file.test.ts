import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Cell } from '../../../src/core/cell.js';
import { UsageError } from '../../../src/core/errors.js';
import type { SweepPlan } from '../../../src/core/plan.js';
import {
  environmentDifferences,
  type EnvironmentFile,
  readEnvironment,
} from '../../../src/sinks/environment-file.js';
import { jsonDocument } from '../../../src/sinks/json.js';
import { planDocument, type PlanFile, readPlan, shardCells } from '../../../src/sinks/plan-file.js';
import { candidate, cell, selectiveHead, shape } from '../../support/cells.js';

const folder = mkdtempSync(join(tmpdir(), 'polar-plan-'));
afterAll(() => rmSync(folder, { recursive: true }));

const plan = (cells: number): SweepPlan => ({
  cells: Array.from({ length: cells }, (_, i) => cell({ batchSize: i + 1 })),
  exclusions: [{ model: 'm\u001b', scope: 'mlp', variant: 'polar', reason: 'r' }],
  sampling: { minSamples: 10, maxSamples: 100, maxNoise: 0.005, maxTimeS: 10, warmup: 3, minSampleUs: 100 },
  threads: 2,
  breakdown: false,
});

const MLP_DENSE = candidate({ kernel: 'mlp/dense', activeHeads: null, activeNeurons: 1024 });

describe('plan.json', () => {
  const path = join(folder, 'plan.json');

  it('gives back the plan, the shard and the names of models exactly', () => {
    const sourced = shape({ name: 'Model_A "x"', criticalHeadDensity: { value: 0.5, source: 'paper' } });
    const file: PlanFile = {
      plan: {
        ...plan(2),
        cells: [cell({ model: sourced, scope: 'mlp', kvLen: null, candidates: [MLP_DENSE] }), cell()],
      },
      shard: { index: 2, count: 3 },
      modelArguments: { 'Model_A "x"': './My Folder/config.json', camelCase: 'snake_case' },
    };
    writeFileSync(path, jsonDocument(planDocument(file)));
    expect(readPlan(path, 'x')).toEqual(file);
  });

  it.each(['{', '[]', '{"cells":[]}', '{"cells":1}'])('refuses %s with the name of the folder', (text) => {
    writeFileSync(path, text);
    expect(() => readPlan(path, 'results/x')).toThrow(UsageError);
    expect(() => readPlan(path, 'results/x')).toThrow(/result folder of a sweep for results\/x/);
  });

  const [first] = plan(1).cells as [Cell];
  const other = (change: Partial<Omit<Cell, 'key'>>): Cell => cell({ batchSize: 1, ...change });
  it.each([
    ['a problem under the key of another', { ...first, batchSize: 7 }, 'a key that is not that of the cell'],
    ['a cell twice', first, 'a cell that occurs twice'],
    ['attention without a length', other({ kvLen: null }), 'attention without a length'],
    ['a third of a group', other({ candidates: [selectiveHead(3)] }), 'heads that are no whole groups'],
    [
      'a kernel of another scope',
      other({ candidates: [MLP_DENSE] }),
      'a kernel that the scope does not have',
    ],
    [
      'more neurons than there are',
      other({ scope: 'mlp', candidates: [{ ...MLP_DENSE, activeNeurons: 1025 }] }),
      'more neurons than there are',
    ],
    [
      'a shape that divides by no KV head',
      other({ model: shape({ numQoHeads: 7 }) }),
      'heads that are no multiple of the KV heads',
    ],
    ['a seed that is no integer', other({ seed: 0.5 }), 'seed'],
  ])('refuses %s', (_, second, says) => {
    const file = { plan: { ...plan(1), cells: [first, second] }, shard: null, modelArguments: {} };
    writeFileSync(path, jsonDocument(planDocument(file)));
    expect(() => readPlan(path, 'results/x')).toThrow(says);
  });
});

describe('shardCells', () => {
  it('gives every cell to exactly one shard, sizes differing by one at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 40 }), (count, cells) => {
        const whole = plan(cells);
        const shards = Array.from({ length: count }, (_, i) => shardCells(whole, { index: i + 1, count }));
        expect(
          shards
            .flat()
            .map((c) => c.batchSize)
            .toSorted((a, b) => a - b),
        ).toEqual(whole.cells.map((c) => c.batchSize));
        const sizes = shards.map((s) => s.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
    expect(shardCells(plan(3), null)).toHaveLength(3);
  });
});

describe('env.json', () => {
  const path = join(folder, 'env.json');
  const environment: EnvironmentFile = {
    run_id: 'a',
    started_at: '2026-01-01T00:00:00.000Z',
    argv: [],
    polar_bench_version: '1.0.0',
    git_commit: null,
    backend: 'cuda',
    device: { name: 'NVIDIA H200', driver_version: '570.1', total_memory_bytes: 1 },
    device_index: 0,
    host: { cpu: 'CPU' },
    ceilings: { read_gb_per_s: 1 },
    ceilings_after: null,
    aa_spread: null,
  };

  it('is null where there is none and refused where it is no environment', () => {
    expect(readEnvironment(path, 'x')).toBeNull();
    writeFileSync(path, '{"run_id": 1}');
    expect(() => readEnvironment(path, 'x')).toThrow(UsageError);
    writeFileSync(path, JSON.stringify({ ...environment, more: 1 }));
    expect(readEnvironment(path, 'x')).toEqual({ ...environment, more: 1 });
  });

  it('names what differs between two machines or builds, and nothing else', () => {
    const same = { ...environment, run_id: 'b', device: { ...environment.device, total_memory_bytes: 2 } };
    expect(environmentDifferences(environment, same)).toEqual([]);
    const other = { ...same, git_commit: 'abc', device: { name: 'NVIDIA A100', driver_version: '570.1' } };
    expect(environmentDifferences(environment, other)).toEqual([
      'device: NVIDIA A100 instead of NVIDIA H200',
      'git_commit: abc instead of none',
    ]);
  });

  it('tells machines of more or fewer CPUs apart where the CPU is what is measured', () => {
    const on = (backend: string, count: number): EnvironmentFile => ({
      ...environment,
      backend,
      host: { cpu: 'CPU', cpu_count: count },
    });
    expect(environmentDifferences(on('cpu', 8), on('cpu', 16))).toEqual(['cpu_count: 16 instead of 8']);
    expect(environmentDifferences(on('cuda', 8), on('cuda', 16))).toEqual([]);
  });
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storedCeilings } from '../../../src/cli/instrument.js';
import { merge } from '../../../src/cli/merge.js';
import { runCli } from '../../../src/cli/program.js';
import type { CellRecord } from '../../../src/core/outcome.js';
import { PolarBenchError } from '../../../src/core/errors.js';
import { rowsOf, type RowContext } from '../../../src/pipeline.js';
import { csvHeader, csvRows } from '../../../src/sinks/csv.js';
import { environmentDifferences, readEnvironment } from '../../../src/sinks/environment-file.js';
import { planDocument, type PlanFile, readPlan, shardCells } from '../../../src/sinks/plan-file.js';
import { readRowsCsv, readSamples } from '../../../src/sinks/read.js';
import { recordToLine } from '../../../src/sinks/samples-line.js';
import { recordedTerminal } from '../../support/terminal.js';
import {
  attentionCell,
  cellOf,
  failed,
  okOutcome,
  outcomeOf,
  SHAPE,
  stepRecord,
} from '../report/measured-cell.js';

/**
 * Whatever happens to the files of a result folder: they are read, or refused with a code and a hint. FUZZ=6000 in the
 * environment looks that many times instead of the few hundred that a test run has time for.
 */
const runsOr = (usual: number): number => Number(process.env['FUZZ'] ?? usual);

const root = mkdtempSync(join(tmpdir(), 'polar-mutated-'));
afterAll(() => rmSync(root, { recursive: true }));

const attention = attentionCell(['attention/dense', 'attention/selective-head']);
const { key: _key, ...shared } = attention;
const mlp = cellOf({
  ...shared,
  scope: 'mlp',
  kvLen: null,
  candidates: [
    {
      kernel: 'mlp/dense',
      variant: 'dense',
      activeHeads: null,
      layerActiveNeurons: null,
      activeNeurons: 96,
      densitySource: 'dense',
    },
    {
      kernel: 'mlp/selective',
      variant: 'mlp-sparse',
      activeHeads: null,
      layerActiveNeurons: null,
      activeNeurons: 24,
      densitySource: 'flag',
    },
  ],
});
const timestamp = '2025-01-01T00:00:00.000Z';
const step = stepRecord();
const records: CellRecord[] = [
  {
    cell: attention,
    outcome: outcomeOf([okOutcome([1500, null, 3000]), okOutcome([700, 800, 900], { energyMj: 2 })]),
    timestamp,
  },
  { cell: mlp, outcome: outcomeOf([okOutcome([10, 11, 12]), failed()], { stop: 'max-time' }), timestamp },
  step,
];
const context: RowContext = {
  run: { runId: 'run', deviceName: 'Test CPU', driverVersion: null },
  ceilings: { readGbPerS: 10, matrixTflopPerS: 0.1, details: {} },
  maxNoise: 0.01,
  reproCommand: () => 'polar-bench sweep',
};
const planFile: PlanFile = {
  plan: {
    cells: [attention, mlp, step.cell],
    exclusions: [{ model: SHAPE.name, scope: 'mlp', variant: 'polar', reason: 'r' }],
    sampling: {
      minSamples: 10,
      maxSamples: 100,
      maxNoise: 0.005,
      maxTimeS: 10,
      warmup: 3,
      minSampleUs: 100,
    },
    threads: 2,
    breakdown: true,
  },
  shard: { index: 1, count: 1 },
  modelArguments: { [SHAPE.name]: 'test' },
};
const environment = {
  run_id: 'run',
  started_at: timestamp,
  argv: ['sweep'],
  polar_bench_version: '1.0.0',
  git_commit: null,
  backend: 'cpu',
  device: { name: 'Test CPU', driver_version: null },
  device_index: 0,
  threads: 2,
  host: { cpu: 'Test CPU', cpu_count: 2 },
  ceilings: { read_gb_per_s: 10, matrix_tflop_per_s: 0.1 },
  ceilings_after: { read_gb_per_s: 11, matrix_tflop_per_s: 0.1 },
  aa_spread: { ratio: 1, relative_spread: 0.01 },
};

const TEXT = {
  'plan.json': JSON.stringify(planDocument(planFile), null, 1),
  'env.json': JSON.stringify(environment, null, 1),
  'rows.csv': csvHeader() + csvRows(records.flatMap((record) => rowsOf(record, context))),
  'samples.jsonl': records.map((record) => `${recordToLine(record)}\n`).join(''),
};
type FileName = keyof typeof TEXT;

/** Values that no file of ours holds in most of its places. */
const oddValue = fc.oneof(
  fc.constantFrom(
    null,
    true,
    '',
    'NaN',
    '\u001b[2J',
    [],
    {},
    -1,
    0,
    0.5,
    1e-320,
    1e15,
    1e300,
    2 ** 53,
    '__proto__',
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

/** Replaces, removes or adds one value somewhere in a document; `at` says where, one number a level. */
function replaceValue(document: unknown, at: readonly number[], value: unknown, remove: boolean): unknown {
  const [here, ...deeper] = at;
  const isContainer = typeof document === 'object' && document !== null;
  const keys = isContainer ? Object.keys(document) : [];
  const key = keys[(here ?? 0) % keys.length];
  if (here === undefined || key === undefined) return value;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(document)
    ? [...(document as unknown[])]
    : { ...(document as Record<string, unknown>) };
  const child = (copy as Record<string, unknown>)[key];
  const ends = deeper.length === 0 || typeof child !== 'object' || child === null;
  if (ends && remove) {
    if (Array.isArray(copy)) copy.splice(Number(key), 1);
    else delete copy[key];
    return copy;
  }
  Object.defineProperty(copy, key, {
    value: ends ? value : replaceValue(child, deeper, value, remove),
    enumerable: true,
    configurable: true,
    writable: true,
  });
  return copy;
}

const place = fc.array(fc.nat({ max: 5039 }), { minLength: 1, maxLength: 6 });

/** Valid JSON, one line or many, in which one value is another. */
const otherValue = (text: string, lines: boolean): fc.Arbitrary<string> =>
  fc.tuple(place, oddValue, fc.boolean(), fc.nat()).map(([at, value, remove, line]) => {
    const documents = lines ? text.trimEnd().split('\n') : [text];
    const index = line % documents.length;
    documents[index] = JSON.stringify(replaceValue(JSON.parse(documents[index] ?? ''), at, value, remove));
    return lines ? `${documents.join('\n')}\n` : (documents[0] ?? '');
  });

/** Text with a piece taken out, doubled or replaced. */
const otherBytes = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.nat({ max: text.length }),
      fc.nat({ max: 40 }),
      fc.oneof(
        fc.string({ unit: 'binary', maxLength: 6 }),
        fc.constantFrom('"', '\n', '\r\n', ',', '{', ']', '-', '1e999', '\0', '\u001b[2J', '[['.repeat(2000)),
      ),
      fc.boolean(),
    )
    .map(([from, length, put, double]) => {
      const piece = text.slice(from, from + length);
      return text.slice(0, from) + (double ? piece + piece : put) + text.slice(from + length);
    });

/** Another field of a CSV, quotes left alone. */
const otherField = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.nat(),
      fc.nat(),
      fc.constantFrom('', '-1', '0', 'NaN', '1e999', '1e308', '5e-324', 'x', '"a,b"', '0x10'),
    )
    .map(([line, column, value]) => {
      const lines = text.split('\r\n');
      const index = line % (lines.length - 1);
      const fields = (lines[index] ?? '').split(',');
      fields[column % fields.length] = value;
      lines[index] = fields.join(',');
      return lines.join('\r\n');
    });

function mutated(name: FileName): fc.Arbitrary<string> {
  const text = TEXT[name];
  if (name === 'rows.csv') return fc.oneof(otherBytes(text), otherField(text));
  return fc.oneof(otherBytes(text), otherValue(text, name === 'samples.jsonl'));
}

/** Nothing, or the coded error that says what is wrong with the file; a bug throws on. */
function refusal(read: () => unknown): PolarBenchError | null {
  try {
    read();
    return null;
  } catch (error) {
    if (!(error instanceof PolarBenchError) || error.code === 'E_INTERNAL') throw error;
    expect(error.exitCode).toBe(2);
    expect(error.message).toMatch(/^Expected /);
    expect(error.hint).toMatch(/\S/);
    return error;
  }
}

function expectReadOrRefused(name: FileName, read: (path: string) => unknown, runs = runsOr(250)): void {
  const path = join(root, name);
  writeFileSync(path, TEXT[name]);
  expect(refusal(() => read(path))).toBeNull();
  let refused = 0;
  fc.assert(
    fc.property(mutated(name), (text) => {
      writeFileSync(path, text);
      if (refusal(() => read(path)) !== null) refused += 1;
    }),
    { numRuns: runs },
  );
  // A reader that takes everything would pass as well.
  expect(refused).toBeGreaterThan(runs / 10);
}

describe('a file of a result folder that was changed is read or refused, with a code', () => {
  it('samples.jsonl, and the rows that are built of it', () =>
    expectReadOrRefused('samples.jsonl', (path) =>
      readSamples(path).records.map((r) => csvRows(rowsOf(r, context))),
    ));

  it('rows.csv', () => expectReadOrRefused('rows.csv', readRowsCsv));

  it('plan.json, and its shards', () =>
    expectReadOrRefused('plan.json', (path) => {
      const { plan, shard } = readPlan(path, 'results/x');
      return shardCells(plan, shard);
    }));

  it('env.json, its ceilings and what is written of it again', () =>
    expectReadOrRefused('env.json', (path) => {
      const stored = readEnvironment(path, 'results/x');
      if (stored === null) return;
      environmentDifferences(stored, environment);
      const ceilings = storedCeilings(stored.ceilings) ?? context.ceilings;
      rowsOf(records[0] as CellRecord, { ...context, ceilings });
      JSON.stringify(stored);
    }));
});

describe('commands over folders in which one file was changed', () => {
  const names = Object.keys(TEXT) as FileName[];
  const whole = join(root, 'whole');
  const changed = join(root, 'changed');
  beforeAll(() => {
    for (const folder of [whole, changed]) {
      mkdirSync(folder);
      for (const name of names) writeFileSync(join(folder, name), TEXT[name]);
    }
  });

  const change = fc.constantFrom(...names).chain((name) => mutated(name).map((text) => ({ name, text })));
  /** The exit code of a command, or that of its refusal. */
  async function exitOf(run: () => Promise<number>): Promise<number> {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof PolarBenchError) || error.code === 'E_INTERNAL') throw error;
      return error.exitCode;
    }
  }
  const printed = (terminal: ReturnType<typeof recordedTerminal>): string => terminal.out() + terminal.err();
  // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
  const CONTROL = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

  it.each([
    ['compare', [0, 1, 2, 4, 5, 6]],
    ['merge', [0, 1, 2, 4]],
  ])('%s ends with an exit code of its own and prints no control character', async (command, codes) => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(change, async ({ name, text }) => {
        writeFileSync(join(changed, name), text);
        const terminal = recordedTerminal();
        const out = join(root, `out-${command}-${(count += 1)}`);
        const code = await exitOf(() =>
          command === 'compare'
            ? runCli(['node', 'polar-bench', 'compare', whole, changed], terminal)
            : merge([changed], { out, format: 'csv' }, terminal),
        );
        writeFileSync(join(changed, name), TEXT[name]);
        expect(codes).toContain(code);
        expect(printed(terminal)).not.toMatch(CONTROL);
      }),
      { numRuns: runsOr(80) },
    );
  });
});

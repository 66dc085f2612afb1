import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SinkError, TraceError, UsageError } from '../../../src/core/errors.js';
import type { SweepPlan } from '../../../src/core/plan.js';
import { csvHeader, csvRows } from '../../../src/sinks/csv.js';
import { prepareFolder, type ResultFolder } from '../../../src/sinks/folder.js';
import { readRowsCsv, readSamples } from '../../../src/sinks/read.js';
import type { CellRecord } from '../../../src/core/outcome.js';
import { breakdownRows } from '../../../src/report/step.js';
import { lineToRecord, recordToLine } from '../../../src/sinks/samples-line.js';
import {
  attentionCell,
  failed,
  incorrect,
  okOutcome,
  outcomeOf,
  SHAPE,
  skipped,
  stepRecord,
} from '../report/measured-cell.js';
import { baselineRow, hostileRows, sparseRow } from './sample-rows.js';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'polar-bench-folder-'));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

const preparing = (given: string) => (): unknown => prepareFolder(given);
const samplesPath = (): string => join(base, 'samples.jsonl');
const rowsPath = (): string => join(base, 'rows.csv');

const cell = attentionCell(['attention/dense', 'attention/selective-head']);
const record: CellRecord = {
  cell,
  outcome: outcomeOf(
    [
      okOutcome([1.5, null, 3], { clockMhz: [1_900, null, 1_950], energyMj: 2.5, warnings: ['w1'] }),
      incorrect(Number.NaN),
    ],
    { stop: 'max-time', warnings: ['less cold than asked'] },
  ),
  timestamp: '2025-01-01T00:00:00.000Z',
};
const second: CellRecord = { ...record, outcome: outcomeOf([failed(), skipped()], { stop: 'not-timed' }) };

const plan: SweepPlan = {
  cells: [cell],
  exclusions: [{ model: 'm\u009b', scope: 'mlp', variant: 'polar', reason: 'r' }],
  sampling: { minSamples: 10, maxSamples: 100, maxNoise: 0.005, maxTimeS: 10, warmup: 3, minSampleUs: 100 },
  threads: 0,
  breakdown: false,
};

describe('prepareFolder', () => {
  it('creates an absent folder with its parents and takes an empty one', () => {
    const path = join(base, 'a', 'b');
    expect(prepareFolder(path).path).toBe(path);
    expect(readdirSync(path)).toEqual([]);
    expect(prepareFolder(path).path).toBe(path);
  });

  it('refuses a folder with content, a file, and a path below a file', () => {
    writeFileSync(join(base, 'x'), '');
    expect(preparing(base)).toThrow(UsageError);
    expect(preparing(base)).toThrow(/absent or empty folder for --out, got .* with 1 entry/);
    expect(preparing(join(base, 'x'))).toThrow(/Expected a folder for --out, got the file/);
    expect(preparing(join(base, 'x', 'y'))).toThrow(/Expected a writable folder for --out/);
    expect(readFileSync(join(base, 'x'), 'utf8')).toBe('');
  });

  it('takes back what it created when it fails half-way', () => {
    expect(() => prepareFolder(join(base, 'new', 'n'.repeat(300)))).toThrow(UsageError);
    expect(readdirSync(base)).toEqual([]);
  });

  it('refuses an empty folder in which no file can be created', () => {
    const path = join(base, 'read-only');
    mkdirSync(path);
    chmodSync(base, 0o755);
    chmodSync(path, 0o555);
    // Permissions do not bind root: be somebody else for this one call.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      expect(() => prepareFolder(path)).toThrow(UsageError);
      expect(() => prepareFolder(join(path, 'below'))).toThrow(/Expected a writable folder.*EACCES/);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    expect(readdirSync(path)).toEqual([]);
  });

  it('can be taken back while empty, and not after', () => {
    const path = join(base, 'a', 'b');
    prepareFolder(path).discardIfEmpty();
    expect(readdirSync(base)).toEqual([]);
    const folder = prepareFolder(path);
    folder.writeEnvironment({});
    folder.discardIfEmpty();
    expect(readdirSync(path)).toEqual(['env.json']);
  });
});

describe('breakdown.csv', () => {
  it('is replaced as a whole, and absent where nobody asked', () => {
    const folder = prepareFolder(join(base, 'out'));
    const path = join(folder.path, 'breakdown.csv');
    folder.writePlan({ plan, shard: null, modelArguments: {} });
    folder.writeCell(record, [baselineRow]);
    expect(existsSync(path)).toBe(false);
    const rows = breakdownRows(stepRecord(), 'r1');
    folder.writeBreakdown(rows.slice(0, 1));
    folder.writeBreakdown(rows);
    const lines = readFileSync(path, 'utf8').split('\r\n');
    expect(lines[0]).toBe(
      'schema_version,run_id,model,batch_size,kv_len,variant,kernel,module,latency_us,share,active_heads,active_neurons',
    );
    expect(lines[1]).toBe('1,r1,test-shape,2,128,dense,step/dense,attention,3,0.75,8,96');
    expect(lines).toHaveLength(1 + rows.length + 1);
  });
});

describe('samples.jsonl of a step', () => {
  it('keeps parts, resident layers and the neurons of each layer', () => {
    const kept = stepRecord();
    expect(lineToRecord(recordToLine(kept))).toEqual(kept);
  });

  it('of older versions lacks them: nothing was measured, and the block is that of the family', () => {
    const line = JSON.parse(recordToLine(record)) as {
      cell: { model: Record<string, unknown>; candidates: Record<string, unknown>[] };
      candidates: Record<string, unknown>[];
    };
    const { model } = line.cell;
    for (const key of ['qkv_bias', 'out_bias', 'rope_theta', 'norm_epsilon', 'unmodelled_block']) {
      expect(Object.hasOwn(model, key)).toBe(true);
      delete model[key];
    }
    for (const c of line.cell.candidates) delete c['layer_active_neurons'];
    for (const c of line.candidates) {
      delete c['parts'];
      delete c['resident_layers'];
    }
    expect(lineToRecord(JSON.stringify(line))).toEqual(record);
  });
});

describe('two that find the same folder empty', () => {
  const path = (): string => join(base, 'out');
  const begin = (): ResultFolder => prepareFolder(path());

  it('do not both write into it, however quick the first is', () => {
    const [quick, late] = [begin(), begin()];
    quick.acquireNew('out');
    expect(() => late.acquireNew('out')).toThrow(/no other sweep writes to/);
    quick.writePlan({ plan, shard: null, modelArguments: {} });
    quick.release();
    expect(() => late.acquireNew('out')).toThrow(UsageError);
    expect(() => late.acquireNew('out')).toThrow(/--out, got out with results by now/);
    // The refused one let go: the folder can be resumed.
    expect(readdirSync(path()).toSorted()).toEqual(['plan.json', 'rows.csv']);
    late.acquire();
    late.release();
  });
});

describe('ResultFolder', () => {
  it('holds the four files, whole after every cell', () => {
    const folder = prepareFolder(join(base, 'out'));
    const at = (name: string): string => join(folder.path, name);
    folder.writePlan({ plan, shard: null, modelArguments: {} });
    folder.writeEnvironment({ device: 'evil\u009b31m\n', nested: { list: [1, null] } });
    expect(readFileSync(at('rows.csv'), 'utf8')).toBe(csvHeader());
    folder.writeCell(record, [baselineRow]);
    expect(readFileSync(at('rows.csv'), 'utf8')).toBe(csvHeader() + csvRows([baselineRow]));
    folder.writeCell(second, [sparseRow]);
    expect(readFileSync(at('rows.csv'), 'utf8')).toBe(csvHeader() + csvRows([baselineRow, sparseRow]));
    expect(readdirSync(folder.path).toSorted()).toEqual([
      'env.json',
      'plan.json',
      'rows.csv',
      'samples.jsonl',
    ]);

    const planText = readFileSync(at('plan.json'), 'utf8');
    expect(planText).not.toContain('\u009b');
    expect(JSON.parse(planText)).toMatchObject({
      sampling: { min_samples: 10, max_time_s: 10 },
      exclusions: [{ model: 'm\u009b' }],
      cells: [{ key: cell.key, batch_size: 2, model: { num_kv_heads: SHAPE.numKvHeads } }],
    });
    const environment = readFileSync(at('env.json'), 'utf8');
    expect(environment).not.toContain('\u009b');
    expect(JSON.parse(environment)).toEqual({ device: 'evil\u009b31m\n', nested: { list: [1, null] } });
  });

  it('writes samples in the documented form', () => {
    const folder = prepareFolder(join(base, 'out'));
    folder.writeCell(record, []);
    const line: unknown = JSON.parse(readFileSync(join(folder.path, 'samples.jsonl'), 'utf8'));
    expect(line).toMatchObject({
      cell: { key: cell.key, scope: 'attention', kv_len: 128 },
      candidates: [
        {
          kernel: 'attention/dense',
          variant: 'dense',
          samples_ns: [1.5, null, 3],
          clock_mhz: [1_900, null, 1_950],
        },
        { kernel: 'attention/selective-head', status: 'incorrect', verification: { max_rel_err: 'NaN' } },
      ],
      stop: 'max-time',
    });
  });

  it('reports a full disk with the path and keeps the old rows', () => {
    const folder = prepareFolder(join(base, 'out'));
    folder.writeCell(record, [baselineRow]);
    const rows = join(folder.path, 'rows.csv');
    const before = readFileSync(rows, 'utf8');
    symlinkSync('/dev/full', `${rows}.tmp`);
    const write = (): void => folder.writeCell(second, [sparseRow]);
    expect(write).toThrow(SinkError);
    expect(readFileSync(rows, 'utf8')).toBe(before);
    expect(existsSync(`${rows}.tmp`)).toBe(false);

    const samples = join(folder.path, 'samples.jsonl');
    rmSync(samples);
    symlinkSync('/dev/full', samples);
    expect(write).toThrow(`Expected to write ${samples}, got ENOSPC`);
    expect(readFileSync(rows, 'utf8')).toBe(before);
  });

  it('leaves the old rows in place when the new ones cannot be put beside them', () => {
    const folder = prepareFolder(join(base, 'out'));
    folder.writePlan({ plan, shard: null, modelArguments: {} });
    mkdirSync(join(folder.path, 'rows.csv.tmp'));
    expect(() => folder.writeCell(record, [baselineRow])).toThrow(/rows\.csv, got EISDIR/);
    expect(readFileSync(join(folder.path, 'rows.csv'), 'utf8')).toBe(csvHeader());
  });
});

const writeSamples = (...records: CellRecord[]): void =>
  writeFileSync(samplesPath(), records.map((r) => `${recordToLine(r)}\n`).join(''));

const readRows = (text: string): unknown => {
  writeFileSync(rowsPath(), text);
  return readRowsCsv(rowsPath());
};

describe('readSamples', () => {
  it('gives back cells and outcomes exactly, NaN included', () => {
    writeSamples(record, second);
    const file = readSamples(samplesPath());
    expect(file.records).toEqual([record, second]);
    expect(file.truncation).toBeNull();
    expect(file.intactBytes).toBe(readFileSync(samplesPath()).length);
  });

  it('leaves out a truncated last line wherever it was cut, and says so', () => {
    writeSamples(record, second);
    const whole = readFileSync(samplesPath());
    const firstLine = whole.indexOf('\n') + 1;
    for (const cut of [firstLine + 1, Math.floor((firstLine + whole.length) / 2), whole.length - 1]) {
      writeFileSync(samplesPath(), whole);
      truncateSync(samplesPath(), cut);
      const file = readSamples(samplesPath());
      expect(file.records).toEqual([record]);
      expect(file.intactBytes).toBe(firstLine);
      expect(file.truncation).toBe(
        `${samplesPath()}: line 2 ends after ${cut - firstLine} bytes and is left out`,
      );
    }
  });

  it('reads an empty file as no records', () => {
    writeFileSync(samplesPath(), '');
    expect(readSamples(samplesPath())).toEqual({ records: [], intactBytes: 0, truncation: null });
  });

  it.each([
    ['not JSON', '{"cell": oops}'],
    ['another object', '{"cell": {}}'],
    ['fewer results than candidates', recordToLine({ ...record, outcome: outcomeOf([failed()]) })],
    ['a negative sample', recordToLine(record).replace('[1.5,null,3]', '[1.5,null,-3]')],
    ['no sample of what is ok', recordToLine(record).replace('[1.5,null,3]', '[]')],
    [
      'results of another kernel',
      recordToLine(record).replace(
        '"candidates":[{"kernel":"attention/dense","variant":"dense","status"',
        '"candidates":[{"kernel":"attention/x","variant":"dense","status"',
      ),
    ],
    ['a cell under the key of another', recordToLine(record).replace('"batch_size":2', '"batch_size":3')],
  ])('refuses a whole line that is %s, with its number', (_what, line) => {
    writeSamples(record);
    appendFileSync(samplesPath(), `${line}\n`);
    const read = (): unknown => readSamples(samplesPath());
    expect(read).toThrow(TraceError);
    expect(read).toThrow(/got line 2: /);
  });

  it('refuses a file that is not there', () => {
    expect(() => readSamples(join(base, 'absent'))).toThrow(
      /Expected a readable file for .*absent, got ENOENT/,
    );
  });
});

describe('readRowsCsv', () => {
  it('gives back the rows, full precision and nulls included', () => {
    expect(readRows(csvHeader() + csvRows([baselineRow, sparseRow]))).toEqual([baselineRow, sparseRow]);
    expect(readRows(csvHeader())).toEqual([]);
  });

  it('writes what it read back to the same bytes', () => {
    const text = csvHeader() + csvRows(hostileRows);
    readRows(text);
    expect(csvHeader() + csvRows(readRowsCsv(rowsPath()))).toBe(text);
  });

  const good = csvHeader() + csvRows([baselineRow]);
  it.each([
    ['another header', good.replace('kv_len', 'seq_len'), /column 14 is seq_len, not kv_len/],
    ['a further column', good.replace('repro_command', 'repro_command,extra'), /unknown column extra/],
    ['a missing field', good.replace(',bf16', ''), /Invalid Record Length/],
    ['text for a number', good.replace(',2048,', ',many,'), /Expected a finite number for kv_len/],
    ['another version', good.replace('\r\n1,', '\r\n99,'), /schema_version 99, not 1/],
    [
      'a status without its promises',
      good.replace(',ok,', ',failed,'),
      /Expected null on a row that is failed/,
    ],
    ['a broken quote', `${good}"x`, /Quote/],
  ])('refuses %s', (_what, text, message) => {
    expect(() => readRows(text)).toThrow(TraceError);
    expect(() => readRows(text)).toThrow(message);
  });
});

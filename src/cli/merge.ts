import { join } from 'node:path';

import type { Cell } from '../core/cell.js';
import { EXIT, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { Row } from '../core/row.js';
import { breakdownRows } from '../report/step.js';
import { type EnvironmentFile, environmentDifferences, readEnvironment } from '../sinks/environment-file.js';
import { prepareFolder, RESULT_FILES } from '../sinks/folder.js';
import { planDocument, type PlanFile, readPlan } from '../sinks/plan-file.js';
import { readRowsCsv, readSamples } from '../sinks/read.js';
import type { CellRecord } from '../core/outcome.js';
import { FORMATS } from '../sinks/sink.js';
import { oneOf } from './flags.js';
import { printBreakdown } from './breakdown.js';
import { exitCodeOf, printRows } from './print-rows.js';
import { cellTitle } from './progress.js';
import { say, type Terminal, warn } from './terminal.js';

interface MeasuredCell {
  readonly record: CellRecord;
  readonly rows: readonly Row[];
}

/** One folder to merge. */
interface Part {
  readonly name: string;
  readonly plan: PlanFile;
  readonly environment: EnvironmentFile;
  readonly cells: readonly MeasuredCell[];
}

/** Gives each record its rows: rows.csv has one row per candidate, in the order of samples.jsonl. */
function withRows(name: string, records: readonly CellRecord[], rows: readonly Row[]): MeasuredCell[] {
  const expected = records.reduce((sum, record) => sum + record.cell.candidates.length, 0);
  let at = 0;
  const cells = records.map((record) => {
    const own = rows.slice(at, (at += record.cell.candidates.length));
    const matches = own.every(
      (row, i) =>
        row.kernel === record.cell.candidates[i]?.kernel && row.batch_size === record.cell.batchSize,
    );
    return { record, rows: own, matches };
  });
  if (expected !== rows.length || cells.some((c) => !c.matches)) {
    throw new UsageError(`Expected rows.csv to match samples.jsonl in ${name}, got other rows`, {
      hint: `Write the rows again with \`polar-bench sweep --resume ${name}\`.`,
    });
  }
  return cells;
}

function readPart(name: string, terminal: Terminal): Part {
  const plan = readPlan(join(name, RESULT_FILES.plan), name);
  const environment = readEnvironment(join(name, RESULT_FILES.environment), name);
  if (environment === null) {
    throw new UsageError(`Expected a measured sweep in ${name}, got no env.json`, {
      hint: `Measure it with \`polar-bench sweep --resume ${name}\`.`,
    });
  }
  const { records, truncation } = readSamples(join(name, RESULT_FILES.samples));
  if (truncation !== null) warn(terminal, truncation);
  const cells = withRows(name, records, readRowsCsv(join(name, RESULT_FILES.rows)));
  return { name, plan, environment, cells };
}

/** The plan without what differs between its shards and between the machines that measured them. */
const comparable = ({ plan, modelArguments }: PlanFile): string =>
  JSON.stringify(planDocument({ plan, shard: null, modelArguments }));

function refuseDifferent(first: Part, other: Part): void {
  const differing = environmentDifferences(first.environment, other.environment);
  if (comparable(first.plan) !== comparable(other.plan)) differing.unshift('plan: another one');
  if (differing.length === 0) return;
  throw new UsageError(
    `Expected the plan and environment of ${first.name} for ${other.name}, got ${differing.join('; ')}`,
    { hint: 'Shards of one sweep have one plan and like machines; measure the odd one again.' },
  );
}

function joined(parts: readonly Part[]): Map<string, MeasuredCell> {
  const all = new Map<string, MeasuredCell>();
  for (const part of parts) {
    for (const cell of part.cells) {
      const { key } = cell.record.cell;
      if (all.has(key)) {
        throw new UsageError(`Expected each cell once, got ${quoted(key, 200)} again in ${part.name}`, {
          hint: 'Was a shard named twice, or measured on two machines?',
        });
      }
      all.set(key, cell);
    }
  }
  return all;
}

/** Cells that are named one by one; the rest is counted. */
const MISSING_NAMED = 20;

function reportMissing(missing: readonly Cell[], parts: readonly Part[], terminal: Terminal): void {
  const { count = 1 } = parts[0]?.plan.shard ?? {};
  const there = new Set(parts.map((part) => part.plan.shard?.index ?? 1));
  for (let index = 1; index <= count; index += 1) {
    if (!there.has(index)) warn(terminal, `shard ${index}/${count} is not among the folders`);
  }
  for (const cell of missing.slice(0, MISSING_NAMED)) warn(terminal, `missing: ${cellTitle(cell)}`);
  const more = missing.length - MISSING_NAMED;
  if (more > 0) warn(terminal, `... and ${more} more cells are missing`);
}

/** `polar-bench merge DIR... --out DIR`: exit 0 when the plan is complete, 1 when cells are missing or failed. */
export async function merge(
  folders: readonly string[],
  options: Readonly<Record<string, string | undefined>>,
  terminal: Terminal,
): Promise<number> {
  const format = oneOf('format', FORMATS, options['format'] ?? 'table');
  const parts = folders.map((name) => readPart(name, terminal));
  const [first, ...others] = parts as [Part, ...Part[]];
  for (const other of others) refuseDifferent(first, other);
  const measured = joined(parts);
  const { cells } = first.plan.plan;
  const present = cells.map((cell) => measured.get(cell.key)).filter((c) => c !== undefined);
  const out = options['out'] ?? 'results/merged';
  const folder = prepareFolder(out);
  folder.acquireNew(out);
  try {
    folder.writePlan({ ...first.plan, shard: null });
    folder.writeEnvironment({ ...first.environment, shards: parts.map((part) => part.environment) });
    for (const { record } of present) folder.writeSamples(record);
    const rows = present.flatMap((cell) => cell.rows);
    folder.rewriteRows(rows);
    const breakdown = present.flatMap(({ record, rows: own }) => breakdownRows(record, own[0]?.run_id ?? ''));
    if (first.plan.plan.breakdown) folder.writeBreakdown(breakdown);
    await printRows(rows, format, terminal);
    await printBreakdown(breakdown, rows, format, terminal);
    reportMissing(
      cells.filter((cell) => !measured.has(cell.key)),
      parts,
      terminal,
    );
    say(terminal, `${present.length} of ${cells.length} cells are in ${folder.path}`);
    return present.length < cells.length ? Math.max(exitCodeOf(rows), EXIT.failedCells) : exitCodeOf(rows);
  } finally {
    folder.release();
  }
}

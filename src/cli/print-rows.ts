import { EXIT } from '../core/errors.js';
import type { Row } from '../core/row.js';
import type { BreakdownRow } from '../report/step.js';
import { createSink } from '../sinks/create.js';
import type { Format } from '../sinks/sink.js';
import { printBreakdown } from './breakdown.js';
import { type Terminal, wantsColour } from './terminal.js';

/** What a sweep ends with: a wrong result counts more than a missing one. */
export function exitCodeOf(rows: readonly Row[]): number {
  if (rows.some((row) => row.status === 'incorrect')) return EXIT.incorrect;
  if (rows.some((row) => row.status === 'failed') || !rows.some((row) => row.status === 'ok')) {
    return EXIT.failedCells;
  }
  return EXIT.ok;
}

/** Prints rows in one of the formats, coloured where the terminal and its environment allow. */
export async function printRows(rows: readonly Row[], format: Format, terminal: Terminal): Promise<void> {
  const sink = await createSink(format, terminal.stdout, {
    colour: wantsColour(terminal.stdout, terminal.env),
  });
  sink.header();
  for (const row of rows) sink.row(row);
  sink.finish();
}

/** Rows, and for people the shares of the parts of decode steps. */
export async function printResults(
  rows: readonly Row[],
  breakdown: readonly BreakdownRow[],
  format: Format,
  terminal: Terminal,
): Promise<void> {
  await printRows(rows, format, terminal);
  await printBreakdown(breakdown, rows, format, terminal);
}

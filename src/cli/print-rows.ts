import { EXIT } from '../core/errors.js';
import type { Row } from '../core/row.js';
import { createSink } from '../sinks/create.js';
import type { Format } from '../sinks/sink.js';
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

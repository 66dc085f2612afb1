import { styleText } from 'node:util';
import Table from 'cli-table3';
import type { Row } from '../core/row.js';
import { displayRow, groupRows, headingsOf, isBaseline, notesOf, type RowGroup } from './display.js';
import type { Sink, SinkOptions, TextWriter } from './sink.js';

type Style = Parameters<typeof styleText>[0];

/** No rules between columns: two spaces keep ten columns within 120 characters. */
const CHARS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

const RIGHT = 'right' as const;
const LEFT = 'left' as const;
const ALIGNMENT = [RIGHT, RIGHT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, RIGHT, LEFT, LEFT];

/** Tables for people, one per scope and model; written when all rows are there, because widths depend on them. */
export class TableSink implements Sink {
  private readonly rows: Row[] = [];
  private readonly colour: boolean;

  constructor(
    private readonly writer: TextWriter,
    options: SinkOptions = {},
  ) {
    this.colour = options.colour ?? false;
  }

  header(): void {
    // Each group has a heading of its own.
  }

  row(row: Row): void {
    this.rows.push(row);
  }

  finish(): void {
    const parts = groupRows(this.rows).map((group) => this.group(group));
    if (parts.length > 0) this.writer.write(`${parts.join('\n\n')}\n`);
  }

  private paint(style: Style | null, text: string): string {
    // The caller has looked at the terminal; styleText must not look again.
    return this.colour && style !== null ? styleText(style, text, { validateStream: false }) : text;
  }

  private group(group: RowGroup): string {
    const { title, rows } = group;
    const table = new Table({
      head: headingsOf(group).map((text) => this.paint('bold', text)),
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
      chars: CHARS,
      colAligns: ALIGNMENT,
    });
    for (const row of rows) table.push(this.cells(row));
    const lines = table
      .toString()
      .split('\n')
      .map((line) => line.trimEnd());
    const notes = notesOf(rows).map((note) => `  ${note}`);
    return [this.paint('bold', title), ...lines, ...notes].join('\n');
  }

  private cells(row: Row): string[] {
    const shown = displayRow(row);
    return Object.values({
      ...shown,
      speedup: this.paint(speedupStyle(row), shown.speedup),
      status: this.paint(
        row.status === 'ok' ? 'green' : row.status === 'skipped' ? 'yellow' : 'red',
        shown.status,
      ),
    });
  }
}

/** Colour only what the interval supports: a speedup whose interval contains 1 is neither gain nor loss. */
function speedupStyle(row: Row): Style | null {
  if (isBaseline(row)) return 'dim';
  if (row.speedup_ci_low !== null && row.speedup_ci_low > 1) return 'green';
  if (row.speedup_ci_high !== null && row.speedup_ci_high < 1) return 'red';
  return null;
}

import { ROW_SCHEMA_VERSION, type Row } from '../core/row.js';
import { COLUMN_HEADERS } from '../report/columns.js';
import { escapeJsonForTerminal } from '../report/sanitize.js';
import type { Sink, TextWriter } from './sink.js';

/** A value as indented JSON with a line break at the end; safe to show in a terminal. */
export function jsonDocument(value: unknown): string {
  // Line breaks inside of texts are already escapes: those that are left are the indentation's.
  const lines = JSON.stringify(value, null, 2).split('\n');
  return `${lines.map(escapeJsonForTerminal).join('\n')}\n`;
}

/** A row as one line of JSON with the keys in the order of the columns; safe to show in a terminal. */
export function jsonRow(row: Row): string {
  const ordered = Object.fromEntries(COLUMN_HEADERS.map((header) => [header, row[header]]));
  return escapeJsonForTerminal(JSON.stringify(ordered));
}

/** `{"schema_version", "rows": [...]}`, one row a line. */
export class JsonSink implements Sink {
  private first = true;

  constructor(private readonly writer: TextWriter) {}

  header(): void {
    this.writer.write(`{"schema_version":${ROW_SCHEMA_VERSION},"rows":[`);
  }

  row(row: Row): void {
    this.writer.write(`${this.first ? '' : ','}\n${jsonRow(row)}`);
    this.first = false;
  }

  finish(): void {
    this.writer.write('\n]}\n');
  }
}

/** One row a line. */
export class JsonLinesSink implements Sink {
  constructor(private readonly writer: TextWriter) {}

  header(): void {
    // Every line is an object of its own.
  }

  row(row: Row): void {
    this.writer.write(`${jsonRow(row)}\n`);
  }

  finish(): void {
    // Every row is already written.
  }
}

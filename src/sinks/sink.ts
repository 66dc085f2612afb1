import type { Row } from '../core/row.js';

export const FORMATS = ['table', 'csv', 'json', 'jsonl', 'md'] as const;
export type Format = (typeof FORMATS)[number];

/** Where a sink's text goes: stdout, a file, a string in tests. */
export interface TextWriter {
  write(text: string): void;
}

/**
 * One format of results. Call `header` once, `row` for every row in order, `finish` once.
 * The table and md need all rows and write at the end; csv, json and jsonl write every row as it comes.
 */
export interface Sink {
  header(): void;
  row(row: Row): void;
  finish(): void;
}

export interface SinkOptions {
  /** Whether to colour the table; the caller knows the terminal, NO_COLOR and FORCE_COLOR. Default: no. */
  readonly colour?: boolean;
}

/**
 * The sink of a format. Loads only the code of that format, so that other commands start fast.
 *
 * @param format one of FORMATS
 * @param writer receives UTF-16 text in pieces; errors that it throws pass through
 */
export async function createSink(
  format: Format,
  writer: TextWriter,
  options: SinkOptions = {},
): Promise<Sink> {
  switch (format) {
    case 'table':
      return new (await import('./table.js')).TableSink(writer, options);
    case 'csv':
      return new (await import('./csv.js')).CsvSink(writer);
    case 'json':
      return new (await import('./json.js')).JsonSink(writer);
    case 'jsonl':
      return new (await import('./json.js')).JsonLinesSink(writer);
    case 'md':
      return new (await import('./markdown.js')).MarkdownSink(writer);
  }
}

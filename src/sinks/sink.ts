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

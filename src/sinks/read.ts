import { readFileSync } from 'node:fs';
import { parse } from 'csv-parse/sync';
import { TraceError } from '../core/errors.js';
import { ROW_SCHEMA_VERSION, type Row } from '../core/row.js';
import { checkRow } from '../report/check-row.js';
import { COLUMNS, COLUMN_HEADERS, type Column } from '../report/columns.js';
import type { CellRecord } from '../core/outcome.js';
import { lineToRecord } from './samples-line.js';

/** What samples.jsonl holds. */
export interface SamplesFile {
  readonly records: readonly CellRecord[];
  /** Bytes of the whole lines; a file with a truncated last line is cut to this before more is appended. */
  readonly intactBytes: number;
  /** What says so when the last line was cut off by a crash or a full disk; null when the file is whole. */
  readonly truncation: string | null;
}

const LINE_FEED = 0x0a;

function reason(cause: unknown): string {
  // The first line: zod's message is a list of all problems.
  return (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 300);
}

function malformed(path: string, where: string, cause: unknown): TraceError {
  return new TraceError(
    `Expected a file written by polar-bench for ${path}, got ${where}: ${reason(cause)}`,
    {
      hint: 'The file was changed or written by another version; measure again into a new folder.',
      cause,
    },
  );
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new TraceError(`Expected a readable file for ${path}, got ${reason(cause)}`, {
      hint: 'Name a result folder that a sweep has written.',
      cause,
    });
  }
}

/**
 * Reads samples.jsonl. A last line without line break is what a crash leaves behind: it is left out and reported,
 * never guessed at.
 *
 * @throws TraceError with path and line when the file cannot be read or a whole line is not a record
 */
export function readSamples(path: string): SamplesFile {
  const bytes = readBytes(path);
  const intactBytes = bytes.lastIndexOf(LINE_FEED) + 1;
  const lines = bytes.toString('utf8', 0, intactBytes).split('\n').slice(0, -1);
  const records = lines.map((line, i) => {
    try {
      return lineToRecord(line);
    } catch (cause) {
      throw malformed(path, `line ${i + 1}`, cause);
    }
  });
  const lost = bytes.length - intactBytes;
  return {
    records,
    intactBytes,
    truncation:
      lost === 0 ? null : `${path}: line ${records.length + 1} ends after ${lost} bytes and is left out`,
  };
}

function parseField(column: Column, text: string): string | number | null {
  if (text === '' && (column.nullable || column.type !== 'text')) return null;
  return column.type === 'text' ? text : Number(text);
}

function parseHeader(header: readonly string[]): string[] {
  COLUMN_HEADERS.forEach((expected, i) => {
    if (header[i] !== expected)
      throw new Error(`column ${i + 1} is ${header[i] ?? 'missing'}, not ${expected}`);
  });
  if (header.length > COLUMN_HEADERS.length)
    throw new Error(`unknown column ${header[COLUMN_HEADERS.length]}`);
  return [...header];
}

function parseRow(record: Readonly<Record<string, string>>): Row {
  const fields = COLUMNS.map((column) => [column.header, parseField(column, record[column.header] ?? '')]);
  // checkRow proves the types that the cast claims.
  const row = checkRow(Object.fromEntries(fields) as Row);
  if (row.schema_version !== ROW_SCHEMA_VERSION) {
    throw new Error(`schema_version ${row.schema_version}, not ${ROW_SCHEMA_VERSION}`);
  }
  return row;
}

/**
 * Reads rows.csv: every number as it was written, an empty field as null, text as the CSV sink wrote it (sanitized).
 *
 * @throws TraceError with the path when the file cannot be read, is not RFC 4180, has other columns or a row that
 *   breaks docs/columns.md
 */
export function readRowsCsv(path: string): Row[] {
  const text = readBytes(path).toString('utf8');
  try {
    const records = parse<Record<string, string>>(text, { columns: parseHeader, record_delimiter: '\r\n' });
    return records.map(parseRow);
  } catch (cause) {
    throw malformed(path, 'something else', cause);
  }
}

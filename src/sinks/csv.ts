import { stringify } from 'csv-stringify/sync';
import type { Row } from '../core/row.js';
import { COLUMN_HEADERS } from '../report/columns.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { BREAKDOWN_HEADERS, type BreakdownRow } from '../report/step.js';
import type { Sink, TextWriter } from './sink.js';

export type CsvValue = string | number | null;

/** RFC 4180 asks for CR LF; a lone CR or LF cannot occur because text is sanitized first. */
const RECORD_DELIMITER = '\r\n';

/**
 * Records as RFC 4180 text: numbers with full precision, null as an empty field, text with control characters replaced
 * visibly (people print CSV files to terminals). Nothing is prefixed against spreadsheet formulas: docs/columns.md.
 *
 * @param records each as long as the header
 */
export function csvText(records: readonly (readonly CsvValue[])[]): string {
  const safe = records.map((record) =>
    record.map((v) => (typeof v === 'string' ? sanitizeForTerminal(v) : v)),
  );
  return stringify(safe, { record_delimiter: RECORD_DELIMITER });
}

/** The header line of rows.csv. */
export function csvHeader(): string {
  return csvText([COLUMN_HEADERS]);
}

/** Rows as lines of rows.csv, without the header. */
export function csvRows(rows: readonly Row[]): string {
  return csvText(rows.map((row) => COLUMN_HEADERS.map((header) => row[header])));
}

/** breakdown.csv, header and all. */
export function breakdownCsv(rows: readonly BreakdownRow[]): string {
  const records = rows.map((row) => BREAKDOWN_HEADERS.map((header) => row[header]));
  return csvText([BREAKDOWN_HEADERS, ...records]);
}

export class CsvSink implements Sink {
  constructor(private readonly writer: TextWriter) {}

  header(): void {
    this.writer.write(csvHeader());
  }

  row(row: Row): void {
    this.writer.write(csvRows([row]));
  }

  finish(): void {
    // Every row is already written.
  }
}

import type { UnionRow } from '../core/union.js';
import { UNION_COLUMNS } from '../report/union-rows.js';
import { escapeJsonForTerminal } from '../report/sanitize.js';
import { csvText } from './csv.js';
import { escapeMarkdown } from './markdown.js';

export const UNION_SCHEMA_VERSION = 1;

const values = (row: UnionRow): (string | number | null)[] => UNION_COLUMNS.map((c) => row[c]);
const ordered = (row: UnionRow): Record<string, unknown> =>
  Object.fromEntries(UNION_COLUMNS.map((c) => [c, row[c]]));

/** rows as RFC 4180 CSV with a header; null is an empty field. */
export function unionCsv(rows: readonly UnionRow[]): string {
  return csvText([UNION_COLUMNS, ...rows.map(values)]);
}

/** `{"schema_version", "rows": [...]}`, one row a line. */
export function unionJson(rows: readonly UnionRow[]): string {
  const lines = rows.map((row) => escapeJsonForTerminal(JSON.stringify(ordered(row))));
  return `{"schema_version":${UNION_SCHEMA_VERSION},"rows":[\n${lines.join(',\n')}\n]}\n`;
}

/** One row a line. */
export function unionJsonLines(rows: readonly UnionRow[]): string {
  return rows.map((row) => `${escapeJsonForTerminal(JSON.stringify(ordered(row)))}\n`).join('');
}

/** A pipe table of any heads and cells. */
export function pipeTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeMarkdown).join(' | ')} |`;
  return `${[line(head), `|${head.map(() => ' ---: |').join('')}`, ...rows.map(line)].join('\n')}\n`;
}

import type { Row } from '../core/row.js';
import { displayRow, groupRows, headingsOf, notesOf, type RowGroup } from './display.js';
import type { Sink, TextWriter } from './sink.js';

/** Left for text, right for numbers; the order of `headingsOf`. */
const RULES = ['---:', '---:', '---', '---', '---:', '---:', '---:', '---:', '---', '---'];

/** Text that Markdown shows as it is: no table cell, link, emphasis, code or HTML begins in it. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_~[\]<>|]/g, '\\$&');
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function groupText(group: RowGroup): string {
  const { title, rows } = group;
  const body = rows.map((row) => line(Object.values(displayRow(row)).map(escapeMarkdown)));
  const notes = notesOf(rows).map((note) => `- ${escapeMarkdown(note)}`);
  const head = [`**${escapeMarkdown(title)}**`, '', line(headingsOf(group)), line(RULES)];
  return [...head, ...body, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n');
}

/** Pipe tables for issues and pull requests, the same columns as the table for terminals. */
export class MarkdownSink implements Sink {
  private readonly rows: Row[] = [];

  constructor(private readonly writer: TextWriter) {}

  header(): void {
    // Each group has a heading of its own.
  }

  row(row: Row): void {
    this.rows.push(row);
  }

  finish(): void {
    const parts = groupRows(this.rows).map(groupText);
    if (parts.length > 0) this.writer.write(`${parts.join('\n\n')}\n`);
  }
}

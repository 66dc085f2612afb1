import type { Figure, ReportDocument, Section, Table, TableCell } from '../report/page/document.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { escapeMarkdown } from './markdown.js';

const safe = (text: string): string => escapeMarkdown(sanitizeForTerminal(text));

function cellText(cell: TableCell): string {
  if (typeof cell === 'string') return safe(cell);
  // A code span shows backslashes: only what would end the cell is replaced.
  return cell.kind === 'code'
    ? `\`${sanitizeForTerminal(cell.text).replace(/[`|]/g, ' ')}\``
    : safe(cell.text);
}

function tableText({ caption, head, rows, numeric }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rules = head.map((_, i) => (numeric.includes(i) ? '---:' : '---'));
  return [
    `${safe(caption)}:`,
    '',
    line(head.map(safe)),
    line(rules),
    ...rows.map((r) => line(r.map(cellText))),
  ].join('\n');
}

function figureText(figure: Figure, plotPath: (figure: Figure) => string): string {
  return [
    `### ${safe(figure.title)}`,
    `![${safe(figure.alt)}](${plotPath(figure)})`,
    safe(figure.caption),
    tableText(figure.table),
  ].join('\n\n');
}

function sectionText(section: Section, plotPath: (figure: Figure) => string): string {
  const parts = [
    `## ${safe(section.title)}`,
    ...section.paragraphs.map(safe),
    ...section.tables.map(tableText),
    ...section.figures.map((f) => figureText(f, plotPath)),
    ...(section.points.length > 0 ? [section.points.map((p) => `- ${safe(p)}`).join('\n')] : []),
    ...(section.commands.length > 0
      ? [`\`\`\`\n${section.commands.map(sanitizeForTerminal).join('\n')}\n\`\`\``]
      : []),
  ];
  return parts.join('\n\n');
}

/**
 * A report as Markdown that links its pictures.
 * @param date ISO 8601
 * @param plotPath where the SVG of a figure lies, relative to the file
 */
export function reportMarkdown(
  document: ReportDocument,
  date: string,
  plotPath: (figure: Figure) => string,
): string {
  const parts = [
    `# ${safe(document.title)}`,
    ...document.summary.map(safe),
    `Written ${date}`,
    ...document.sections.map((s) => sectionText(s, plotPath)),
  ];
  return `${parts.join('\n\n')}\n`;
}

import { InternalError } from '../core/errors.js';
import type { Figure, ReportDocument, Section, Table, TableCell } from '../report/page/document.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import type { RenderedPlots } from './report-plots.js';
import { REPORT_STYLE } from './report-style.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text that HTML shows as it is, in elements and in quoted attributes; control characters become visible. */
export function escapeHtml(text: string): string {
  return sanitizeForTerminal(text).replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char);
}

const rowLinks = (rows: readonly number[]): string =>
  rows.map((line) => `<a href="#r${line}">${line}</a>`).join(' ');

function cellHtml(cell: TableCell): string {
  if (typeof cell === 'string') return escapeHtml(cell);
  const text = escapeHtml(cell.text);
  if (cell.href !== undefined) return `<a href="${escapeHtml(cell.href)}">${text}</a>`;
  if (cell.kind === 'code') return `<code>${text}</code>`;
  if (cell.kind === 'verdict') {
    return `<span class="verdict ${cell.text.replaceAll(/[^a-z]+/g, '-')}">${text}</span>`;
  }
  const { rows } = cell;
  if (rows === undefined) return text;
  // "row 12" and "3 12" are nothing but their links; other text keeps its words and links the first row.
  return /^(row )?[\d ]+$/.test(cell.text) ? rowLinks(rows) : `<a href="#r${rows[0]}">${text}</a>`;
}

function tableHtml({ caption, head, rows, numeric }: Table): string {
  const of = (i: number): string => (numeric.includes(i) ? ' class="number"' : '');
  const headings = head.map((name, i) => `<th scope="col"${of(i)}>${escapeHtml(name)}</th>`).join('');
  const body = rows.map((cells) => {
    const id = cells.find((c) => typeof c !== 'string' && c.id !== undefined);
    const anchor = typeof id === 'object' ? ` id="r${escapeHtml(id.id?.replace(/^r/, '') ?? '')}"` : '';
    return `<tr${anchor}>${cells.map((c, i) => `<td${of(i)}>${cellHtml(c)}</td>`).join('')}</tr>`;
  });
  return [
    `<div class="scroll" role="region" aria-label="${escapeHtml(caption)}" tabindex="0"><table>`,
    `<caption>${escapeHtml(caption)}</caption>`,
    `<thead><tr>${headings}</tr></thead>`,
    `<tbody>${body.join('\n')}</tbody></table></div>`,
  ].join('\n');
}

function figureHtml(figure: Figure, plots: RenderedPlots): string {
  const svg = plots.get(figure.id);
  if (svg === undefined) throw new InternalError(`Expected a picture for figure ${figure.id}, got none`);
  return [
    `<figure id="${escapeHtml(figure.id)}">`,
    `<h3>${escapeHtml(figure.title)}</h3>`,
    `<div class="scroll picture" role="img" aria-label="${escapeHtml(figure.alt)}" tabindex="0">${svg}</div>`,
    `<figcaption class="caption">${escapeHtml(figure.caption)}</figcaption>`,
    `<div class="numbers">${tableHtml(figure.table)}</div>`,
    '</figure>',
  ].join('\n');
}

function sectionHtml(section: Section, plots: RenderedPlots): string {
  const figures = section.figures.map((figure) => figureHtml(figure, plots));
  const list = section.points.map((p) => `<li>${escapeHtml(p)}</li>`).join('\n');
  return [
    `<section id="${escapeHtml(section.id)}" aria-labelledby="${escapeHtml(section.id)}-title">`,
    `<h2 id="${escapeHtml(section.id)}-title">${escapeHtml(section.title)}</h2>`,
    ...section.paragraphs.map((p) => `<p>${escapeHtml(p)}</p>`),
    ...section.tables.map(tableHtml),
    ...figures,
    ...(list === '' ? [] : [`<ul>\n${list}\n</ul>`]),
    ...(section.commands.length > 0
      ? [`<pre><code>${section.commands.map(escapeHtml).join('\n')}</code></pre>`]
      : []),
    '</section>',
  ].join('\n');
}

/**
 * A report as one page that needs nothing else: no network, no script, no font.
 * @param date when the page was written, ISO 8601: the only thing in it that does not come from the results
 * @param plots of this document
 */
export function reportHtml(document: ReportDocument, date: string, plots: RenderedPlots): string {
  const sections = document.sections.map((section) => sectionHtml(section, plots));
  const links = document.sections.map(
    (s) => `<li><a href="#${escapeHtml(s.id)}">${escapeHtml(s.title)}</a></li>`,
  );
  return `${[
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<link rel="icon" href="data:,">',
    `<title>${escapeHtml(document.title)}</title>`,
    `<style>${REPORT_STYLE}</style>`,
    '</head>',
    '<body>',
    `<header><h1>${escapeHtml(document.title)}</h1>`,
    ...document.summary.map((s) => `<p>${escapeHtml(s)}</p>`),
    `<p class="date">Written <time datetime="${escapeHtml(date)}">${escapeHtml(date)}</time></p></header>`,
    `<nav aria-label="Sections"><ul>\n${links.join('\n')}\n</ul></nav>`,
    '<main>',
    ...sections,
    '</main>',
    '</body>',
    '</html>',
  ].join('\n')}\n`;
}

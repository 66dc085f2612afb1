import { join } from 'node:path';
import { VARIANTS } from '../core/cell.js';
import type { Figure, ReportDocument } from '../report/page/document.js';
import { type PolarMap } from '../report/polar-map.js';
import { csvText } from './csv.js';
import { makeFolder, replaceFile } from './durable.js';
import { standalone } from './plot-style.js';
import { reportHtml } from './report-html.js';
import { reportMarkdown } from './report-markdown.js';
import { renderPlots } from './report-plots.js';

/** What `report` writes. */
export const REPORT_FILES = { html: 'report.html', markdown: 'report.md', plots: 'plots' } as const;

const plotPath = (figure: Figure): string => `${REPORT_FILES.plots}/${figure.id}.svg`;

/** polar-map.csv: a line per cell; `basis` says what was measured, or that nothing was. */
export function polarMapCsv(maps: readonly PolarMap[]): string {
  const times = VARIANTS.map((v) => `${v.replaceAll('-', '_')}_us`);
  const header = [
    'model',
    'basis',
    'device',
    'batch_size',
    'kv_len',
    'winner',
    'speedup',
    'lever',
    ...times,
    'rows',
  ];
  const lines = maps.flatMap((map) =>
    map.cells.map((c) => [
      map.model,
      map.basis,
      map.device,
      c.batchSize,
      c.kvLen,
      c.winner,
      c.speedup,
      c.lever,
      ...VARIANTS.map((v) => c.times[v]),
      c.rows.join(' '),
    ]),
  );
  return csvText([header, ...lines]);
}

/**
 * Writes report.html, report.md and plots/*.svg.
 * @param folder exists and takes files
 * @param date ISO 8601, the only thing in the files that does not come from the results
 * @throws SinkError
 */
export async function writeReport(folder: string, document: ReportDocument, date: string): Promise<void> {
  makeFolder(join(folder, REPORT_FILES.plots));
  const plots = await renderPlots(document);
  for (const figure of document.sections.flatMap((s) => s.figures)) {
    replaceFile(join(folder, plotPath(figure)), standalone(plots.get(figure.id) ?? ''));
  }
  replaceFile(join(folder, REPORT_FILES.html), reportHtml(document, date, plots));
  replaceFile(join(folder, REPORT_FILES.markdown), reportMarkdown(document, date, plotPath));
}

/** Writes measured and predicted maps into files of their own. */
export function writePolarMaps(
  folder: string,
  measured: readonly PolarMap[],
  predicted: readonly PolarMap[],
): void {
  if (measured.length > 0) replaceFile(join(folder, 'polar-map.csv'), polarMapCsv(measured));
  if (predicted.length > 0) replaceFile(join(folder, 'polar-map-predicted.csv'), polarMapCsv(predicted));
}

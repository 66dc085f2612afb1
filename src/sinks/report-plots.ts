import type { Plot, ReportDocument } from '../report/page/document.js';
import { claimSvg } from './plots-claim.js';
import { polarMapSvg } from './plots-map.js';
import { barsSvg, linesSvg, rooflineSvg } from './plots-rows.js';
import { unionByBatchSvg } from './plots-union.js';

/** The picture of a figure, without a title: the page says it in text. @returns SVG with CSS variables as colours */
function plotSvg(plot: Plot): Promise<string> {
  switch (plot.kind) {
    case 'claim':
      return claimSvg(plot.claim, false);
    case 'map':
      return polarMapSvg(plot.map, false);
    case 'lines':
      return linesSvg(plot);
    case 'bars':
      return barsSvg(plot);
    case 'roofline':
      return rooflineSvg(plot);
    case 'union':
      return unionByBatchSvg(plot.model, plot.source, plot.points, plot.law, plot.lastBatch, false);
  }
}

/** SVG with CSS variables as colours, by the id of its figure. */
export type RenderedPlots = ReadonlyMap<string, string>;

/** Renders every picture of a report, once for all files that show it. */
export async function renderPlots(document: ReportDocument): Promise<RenderedPlots> {
  const plots = new Map<string, string>();
  for (const figure of document.sections.flatMap((s) => s.figures)) {
    plots.set(figure.id, await plotSvg(figure.plot));
  }
  return plots;
}

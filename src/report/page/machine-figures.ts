import { NOT_AVAILABLE, threeDigits } from '../format.js';
import type { BreakdownRow } from '../step.js';
import type { Figure } from './document.js';
import { grouped, type NumberedRow, slug } from './row-figures.js';

/** Where the time goes, and what the machine allows. */

/** Shares of the modules of a decode step, a figure per model, variant and length. */
export function breakdownFigures(breakdown: readonly BreakdownRow[]): Figure[] {
  return grouped(breakdown, (b) => `${b.model}|${b.kernel}|${b.kv_len}|${b.active_heads}`).flatMap(
    (group) => {
      const first = group[0];
      const modules = [...new Set(group.map((b) => b.module))];
      const batches = [...new Set(group.map((b) => b.batch_size))].toSorted((a, b) => a - b);
      // One bar is no trend; breakdown.csv has it.
      if (batches.length < 2) return [];
      const share = (batch: number, module: string): number | null =>
        group.find((b) => b.batch_size === batch && b.module === module)?.share ?? null;
      const percent = (value: number | null): string =>
        value === null ? NOT_AVAILABLE : (100 * value).toFixed(1);
      const heads = first?.kernel.endsWith('/dense') === false ? `, ${first.active_heads} heads` : '';
      const title = `${first?.model ?? ''}, ${first?.kernel ?? ''}${heads}, N=${first?.kv_len ?? ''}: where the time of a step goes`;
      const said = batches.map(
        (b) => `batch ${b}: attention ${percent(share(b, 'attention'))} %, MLP ${percent(share(b, 'mlp'))} %`,
      );
      const figure = {
        id: `breakdown-${slug(title)}`,
        title,
        alt: `${title}. ${said.join('; ')}.`,
        caption: 'Shares of one decode step by module, from breakdown.csv; they sum to 100 %.',
        plot: {
          kind: 'bars',
          parts: group.map((b) => ({ x: b.batch_size, module: b.module, percent: 100 * b.share })),
        },
        table: {
          caption: `The numbers of: ${title} (%)`,
          head: ['B', ...modules],
          rows: batches.map((b) => [String(b), ...modules.map((m) => percent(share(b, m)))]),
          numeric: [0, ...modules.map((_, i) => i + 1)],
        },
      } satisfies Figure;
      return [figure];
    },
  );
}

/** Every measured kernel under the roof of the ceilings that this run measured. */
export function rooflineFigure(
  rows: readonly NumberedRow[],
  ceilings: { readonly readGbPerS: number; readonly matrixTflopPerS: number } | null,
): Figure[] {
  if (ceilings === null) return [];
  const points = rows.flatMap(({ row }) => {
    const { flops, bytes_moved: bytes, achieved_tflop_per_s: tflopPerS } = row;
    if (flops === null || bytes === null || bytes === 0 || tflopPerS === null) return [];
    return [{ intensity: flops / bytes, tflopPerS, variant: row.variant }];
  });
  if (points.length === 0) return [];
  const ridge = (1000 * ceilings.matrixTflopPerS) / ceilings.readGbPerS;
  const kernels = grouped(
    rows.filter(({ row }) => row.pct_of_bound !== null),
    ({ row }) => row.kernel,
  );
  const shares = kernels.map((group) => {
    const all = group.map(({ row, line }) => ({ pct: row.pct_of_bound ?? 0, line }));
    const best = all.reduce((a, b) => (b.pct > a.pct ? b : a));
    const worst = all.reduce((a, b) => (b.pct < a.pct ? b : a));
    return { kernel: group[0]?.row.kernel ?? '', count: all.length, best, worst };
  });
  const title = 'Roofline: what each kernel reaches of what this machine can do';
  return [
    {
      id: 'roofline-all',
      title,
      alt: `${title}. Memory roof ${threeDigits(ceilings.readGbPerS)} GB/s, matrix roof ${threeDigits(ceilings.matrixTflopPerS)} TFLOP/s, ridge at ${threeDigits(ridge)} operations per byte. ${points.length} points, all below the roof unless the table says more than 100 %.`,
      caption: `Counted operations over counted bytes against achieved rate, both axes logarithmic. The roof is what polar-bench measured on this machine: ${threeDigits(ceilings.readGbPerS)} GB/s and ${threeDigits(ceilings.matrixTflopPerS)} TFLOP/s.`,
      plot: { kind: 'roofline', ...ceilings, points },
      table: {
        caption: 'Share of the bound, by kernel',
        head: ['kernel', 'rows', 'best %', 'at', 'worst %', 'at'],
        rows: shares.map(({ kernel, count, best, worst }) => [
          kernel,
          String(count),
          best.pct.toFixed(0),
          { text: `row ${best.line}`, rows: [best.line] },
          worst.pct.toFixed(0),
          { text: `row ${worst.line}`, rows: [worst.line] },
        ]),
        numeric: [1, 2, 4],
      },
    },
  ];
}

import type { Row } from '../core/row.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import type { BreakdownRow } from '../report/step.js';
import type { Format } from '../sinks/sink.js';
import { plainTable } from './plain-table.js';
import type { Terminal } from './terminal.js';

/** What makes two lines parts of the same step. */
const STEP = ['run_id', 'model', 'batch_size', 'kv_len', 'kernel', 'active_heads', 'active_neurons'] as const;

const identity = (row: Readonly<Record<(typeof STEP)[number], unknown>>): string =>
  JSON.stringify(STEP.map((name) => row[name]));

/** "41.3", the share in per cent; "-" where the step has no such part */
const percent = (share: number | undefined): string => (share === undefined ? '-' : (100 * share).toFixed(1));

/** One line per step: the share of each part, and what all of them are of the step's own median. */
function lines(modules: readonly string[], parts: readonly BreakdownRow[], rows: readonly Row[]): string[][] {
  const medians = new Map(rows.map((row) => [identity(row), row.latency_us_median]));
  const steps = new Map<string, BreakdownRow[]>();
  for (const part of parts) steps.set(identity(part), [...(steps.get(identity(part)) ?? []), part]);
  return [...steps].flatMap(([key, members]) => {
    const [first] = members;
    if (first === undefined) return [];
    const share = new Map(members.map((part) => [part.module, part.share]));
    const sum = members.reduce((total, part) => total + part.latency_us, 0);
    const median = medians.get(key) ?? null;
    return [
      [
        sanitizeForTerminal(first.model),
        String(first.batch_size),
        String(first.kv_len),
        sanitizeForTerminal(first.variant),
        ...modules.map((module) => percent(share.get(module))),
        percent(median === null ? undefined : sum / median),
      ],
    ];
  });
}

/**
 * The shares of the parts as a table for people (Fig. 1a of the paper); formats for programs have breakdown.csv.
 * @param rows of the same sweep: a step's median is what its parts should sum to
 */
export async function printBreakdown(
  parts: readonly BreakdownRow[],
  rows: readonly Row[],
  format: Format,
  terminal: Terminal,
): Promise<void> {
  if (parts.length === 0 || (format !== 'table' && format !== 'md')) return;
  const modules = [...new Set(parts.map((part) => part.module))];
  const head = ['model', 'batch', 'kv_len', 'variant', ...modules.map(sanitizeForTerminal), 'sum'];
  const body = lines(modules, parts, rows);
  terminal.stdout.write("\nshares of a decode step, %; sum: all parts over the step's own median\n");
  if (format === 'table') {
    terminal.stdout.write(await plainTable(head, body));
    return;
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  terminal.stdout.write(['\n', line(head), line(head.map(() => '---')), ...body.map(line)].join(''));
}

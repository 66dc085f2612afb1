import type { UnionRow } from '../core/union.js';
import { meanRows } from '../report/union-rows.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { pipeTable, unionCsv, unionJson, unionJsonLines } from '../sinks/union-text.js';
import { plainTable } from './plain-table.js';
import type { Terminal } from './terminal.js';
import type { UnionData } from './union-data.js';
import type { UnionInvocation } from './union-request.js';

const NONE = '-';
const percent = (density: number | null | undefined): string =>
  density === null || density === undefined ? NONE : (100 * density).toFixed(1);

/** One digit with its sign; what rounds to zero has none. */
function signed(value: number): string {
  const text = Math.abs(value).toFixed(1);
  return text === '0.0' ? text : `${value < 0 ? '-' : '+'}${text}`;
}

/** Rows that machine formats print: those of the chosen source, layers first, then the mean. */
export function chosenRows(data: readonly UnionData[], invocation: UnionInvocation): UnionRow[] {
  return data.flatMap(({ own, law }) => {
    if (invocation.bare) return [...meanRows(own), ...meanRows(law)];
    const rows = invocation.source === 'law' ? law : own;
    return [...rows, ...meanRows(rows)];
  });
}

const HEAD = ['layer', 'batch', 'union %', '+-', 'law %', 'difference', 'layers'];

function tableLine(
  label: string,
  batch: number,
  own: readonly UnionRow[],
  law: readonly UnionRow[],
): string[] {
  const there = own.filter((r) => r.batch_size === batch && r.union_density_mean !== null);
  // The law is averaged over the layers that have a value, so that the two means compare.
  const same = law.filter(
    (r) => r.batch_size === batch && (there.length === 0 || there.some((t) => t.layer === r.layer)),
  );
  const [ownMean] = meanRows(there);
  const [lawMean] = meanRows(same);
  const a = ownMean?.union_density_mean ?? null;
  const b = lawMean?.union_density_mean ?? null;
  const spread = there.length === 1 ? there[0]?.union_density_std : null;
  return [
    label,
    String(batch),
    percent(a),
    percent(spread),
    percent(b),
    a === null || b === null ? NONE : signed(100 * (b - a)),
    String(there.length === 0 ? same.length : there.length),
  ];
}

function tableLines(data: UnionData, invocation: UnionInvocation): string[][] {
  const own = invocation.source === 'law' ? [] : data.own;
  const batches = [...new Set([...own, ...data.law].map((r) => r.batch_size))].toSorted((a, b) => a - b);
  const lines = batches.map((batch) => tableLine('mean', batch, own, data.law));
  const layers = invocation.layers ?? [];
  const each = layers.flatMap((layer) =>
    batches.map((batch) =>
      tableLine(
        String(layer),
        batch,
        own.filter((r) => r.layer === layer),
        data.law.filter((r) => r.layer === layer),
      ),
    ),
  );
  // The mean of one layer would say the same twice.
  return layers.length === 1 ? each : [...each, ...lines];
}

async function tables(data: readonly UnionData[], invocation: UnionInvocation): Promise<string> {
  const parts: string[] = [];
  for (const entry of data) {
    if (entry.own.length + entry.law.length === 0) continue;
    const lines = tableLines(entry, invocation);
    const title = `${entry.model}: ${entry.source}`;
    const body = invocation.format === 'md' ? `\n${pipeTable(HEAD, lines)}` : await plainTable(HEAD, lines);
    parts.push(`${sanitizeForTerminal(title)}\n${body}`);
    if (entry.fitStatement !== null) parts.push(`${sanitizeForTerminal(entry.fitStatement)}\n`);
  }
  return parts.join('');
}

/** The result on stdout, in the chosen format. */
export async function printUnion(
  data: readonly UnionData[],
  invocation: UnionInvocation,
  terminal: Terminal,
): Promise<void> {
  const rows = chosenRows(data, invocation);
  switch (invocation.format) {
    case 'csv':
      terminal.stdout.write(unionCsv(rows));
      break;
    case 'json':
      terminal.stdout.write(unionJson(rows));
      break;
    case 'jsonl':
      terminal.stdout.write(unionJsonLines(rows));
      break;
    case 'table':
    case 'md':
      terminal.stdout.write(await tables(data, invocation));
  }
}

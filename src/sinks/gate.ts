import { countVerdicts, type GateReport, type GateVerdict, VERDICTS, type Verdict } from '../core/verdict.js';
import { escapeJsonForTerminal, sanitizeForTerminal } from '../report/sanitize.js';
import { formatLatency, NOT_AVAILABLE } from '../report/format.js';
import { escapeMarkdown } from './markdown.js';
import type { SnakeKeys } from './snake-case.js';

/** Findings first, what needs no attention last. */
const ORDER: readonly Verdict[] = ['regressed', 'improved', 'inconclusive', 'missing', 'new', 'same'];

/** Rows that a person reads; the rest is counted, and complete in JSON. */
const ROWS_SHOWN = 100;
const ANNOTATIONS_SHOWN = 10;
/** Verdicts of one piece of JSON text: all in one would be tens of megabytes. */
const PIECE_VERDICTS = 1000;

const HEAD = ['cell', 'base', 'head', 'change (95 %)', 'verdict', 'why'];

/**
 * Untrusted text as one line without control characters; old GitHub runners take `##[` anywhere in a line for a command.
 */
function safe(text: string): string {
  return sanitizeForTerminal(text).replaceAll('##[', '# #[');
}

/** 0.034 -> "+3.4 %" */
function percent(share: number): string {
  const value = 100 * share;
  const digits = Math.abs(value) < 100 ? 1 : 0;
  return `${value >= 0 ? '+' : ''}${value.toFixed(digits)} %`;
}

function change(verdict: GateVerdict): string {
  const { effect, interval } = verdict;
  if (effect === null) return NOT_AVAILABLE;
  if (interval === null) return percent(effect);
  return `${percent(effect)} (${percent(interval.low)} to ${percent(interval.high)})`;
}

function cells(v: GateVerdict): string[] {
  const latency = (us: number | null): string => (us === null ? NOT_AVAILABLE : formatLatency(us));
  return [
    safe(v.title),
    latency(v.baseUs),
    latency(v.headUs),
    change(v),
    v.verdict,
    v.reason === null ? '' : safe(v.reason),
  ];
}

/** What deserves a line: findings by size; unchanged cells only where there is nothing else to show. */
function shown(verdicts: readonly GateVerdict[]): GateVerdict[] {
  const size = (v: GateVerdict): number => Math.abs(v.effect ?? 0);
  return verdicts
    .toSorted((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict) || size(b) - size(a))
    .slice(0, ROWS_SHOWN);
}

/** "1 regressed, 19 same; threshold 2 %" */
export function gateSummary(report: GateReport): string {
  const counts = countVerdicts(report.verdicts);
  const said = VERDICTS.filter((v) => counts[v] > 0).map((v) => `${counts[v]} ${v}`);
  const threshold = Number((100 * report.threshold).toPrecision(3));
  return `${said.length === 0 ? 'nothing comparable' : said.join(', ')}; threshold ${threshold} %`;
}

function leftOut(report: GateReport): string[] {
  const more = report.verdicts.length - ROWS_SHOWN;
  return more > 0 ? [`... and ${more} more; --format json has all`] : [];
}

/** For terminals. */
export async function gateTable(report: GateReport): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const rows = shown(report.verdicts);
  const lines = [gateSummary(report), ...leftOut(report)];
  if (rows.length === 0) return `${lines.join('\n')}\n`;
  const table = new Table({ head: HEAD, style: { head: [], border: [], compact: true } });
  table.push(...rows.map(cells));
  return `${[table.toString(), ...lines].join('\n')}\n`;
}

/** For pull requests and the GitHub step summary. */
export function gateMarkdown(report: GateReport): string {
  const line = (texts: readonly string[]): string => `| ${texts.join(' | ')} |`;
  const rows = shown(report.verdicts).map((v) => line(cells(v).map(escapeMarkdown)));
  const table = rows.length === 0 ? [] : [line(HEAD), line(HEAD.map(() => '---')), ...rows, ''];
  const warnings = report.warnings.map((w) => `- warning: ${escapeMarkdown(safe(w))}`);
  const parts = [`**${gateSummary(report)}**`, '', ...table, ...leftOut(report), ...warnings];
  return `${parts.join('\n').trimEnd()}\n`;
}

/** Spelled out, because a general change of keys takes seconds over a hundred thousand cells. */
function verdictRecord(v: GateVerdict): SnakeKeys<GateVerdict> {
  const { title, verdict, effect, interval, p, q, reason } = v;
  const [base_us, head_us, base_runs, head_runs] = [v.baseUs, v.headUs, v.baseRuns, v.headRuns];
  return { title, verdict, effect, interval, p, q, base_us, head_us, base_runs, head_runs, reason };
}

/** `{"schema_version", "threshold", "counts", "warnings", "verdicts"}`, one verdict a line, in pieces. */
export function* gateJson(report: GateReport): Generator<string> {
  const { threshold, verdicts, warnings } = report;
  const head = { schema_version: 1, threshold, counts: countVerdicts(verdicts), warnings };
  const line = (value: unknown): string =>
    // Only inside of a text can `##[` occur, where the escape means the same.
    escapeJsonForTerminal(JSON.stringify(value)).replaceAll('##[', String.raw`\u0023#[`);
  yield `${line(head).slice(0, -1)},"verdicts":[`;
  for (let from = 0; from < verdicts.length; from += PIECE_VERDICTS) {
    const piece = verdicts.slice(from, from + PIECE_VERDICTS).map((v) => line(verdictRecord(v)));
    yield `${from === 0 ? '' : ','}\n${piece.join(',\n')}`;
  }
  yield '\n]}\n';
}

/** A workflow command takes its message to the end of the line, and its properties to the next comma or colon. */
function commandText(text: string): string {
  return safe(text).replaceAll('%', '%25');
}

function commandProperty(text: string): string {
  return commandText(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

/**
 * GitHub annotations, one line each: at most ten, which is all that GitHub shows of a step.
 *
 * @param unclear also of what is inconclusive: only where that fails the gate, or every busy machine would cry wolf
 */
export function gateAnnotations(report: GateReport, unclear: boolean): string {
  const wanted: readonly Verdict[] = [
    'regressed',
    'missing',
    ...(unclear ? (['inconclusive'] as const) : []),
  ];
  const worth = shown(report.verdicts).filter((v) => wanted.includes(v.verdict));
  const lines = worth.slice(0, ANNOTATIONS_SHOWN).map((v) => {
    const level = v.verdict === 'regressed' ? 'error' : 'warning';
    const message = [change(v), v.reason].filter((t) => t !== null && t !== NOT_AVAILABLE).join('; ');
    const title = commandProperty(`${v.verdict}: ${v.title}`);
    return `::${level} title=${title}::${commandText(message === '' ? v.verdict : message)}\n`;
  });
  return lines.join('');
}

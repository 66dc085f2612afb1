import { EXIT, PolarBenchError, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { GateReport } from '../core/verdict.js';
import { AA_FACTOR, judgeStored, STORED_THRESHOLD, type StoredCell } from '../gate/stored.js';
import { oneOf } from './flags.js';
import { GATE_FORMATS, gateExitCode, printGate } from './gate-output.js';
import { CONDITIONS, readResultSet, type ResultSet } from './result-set.js';
import { cellTitle } from './row-identity.js';
import type { Terminal } from './terminal.js';

/**
 * `latency:2%`
 * @returns 0.02
 * @throws UsageError
 */
export function parseFailOn(value: string): number {
  const match = /^latency:(\d+(?:\.\d+)?)%$/.exec(value.trim());
  const percent = Number(match?.[1]);
  if (match !== null && percent > 0 && percent <= 1000) return percent / 100;
  throw new UsageError(`Expected latency:PERCENT% for --fail-on, got ${quoted(value)}`, {
    hint: 'Write --fail-on latency:5% to fail on cells that are at least 5 % slower.',
  });
}

/** "device: base has NVIDIA H200, head has NVIDIA A100" for every condition that is not the same. */
function differences(base: ResultSet, head: ResultSet): string[] {
  const text = (values: ReadonlySet<string>): string =>
    [...values]
      .toSorted()
      .map((v) => (v === '' ? 'none' : quoted(v)))
      .join(' and ') || 'nothing';
  const differing = (name: string, ofBase: ReadonlySet<string>, ofHead: ReadonlySet<string>): string[] => {
    const [b, h] = [text(ofBase), text(ofHead)];
    return b === h ? [] : [`${name}: base has ${b}, head has ${h}`];
  };
  const rows = CONDITIONS.flatMap((name) => differing(name, base.conditions[name], head.conditions[name]));
  // Only folders say how many threads measured them.
  const known = base.threads.size > 0 && head.threads.size > 0;
  return [...rows, ...(known ? differing('threads', base.threads, head.threads) : [])];
}

function joined(base: ResultSet, head: ResultSet): StoredCell[] {
  const keys = new Set([...base.cells.keys(), ...head.cells.keys()]);
  return [...keys].flatMap((key) => {
    const [b, h] = [base.cells.get(key), head.cells.get(key)];
    const cell = {
      title: cellTitle(key),
      base: b?.runs ?? [],
      head: h?.runs ?? [],
      baseReason: b?.reason ?? null,
      headReason: h?.reason ?? null,
    };
    // Measured on neither side: nothing to say.
    return cell.base.length + cell.head.length === 0 ? [] : [cell];
  });
}

function shiftWarning(shift: number | null, threshold: number): string[] {
  if (shift === null || Math.abs(Math.log1p(shift)) < Math.log1p(threshold)) return [];
  const percent = `${(100 * shift).toFixed(1)} %`;
  return [
    `most cells changed by about ${percent}: a change of the whole build, or of the machine; \`polar-bench ab\` can tell`,
  ];
}

function report(base: ResultSet, head: ResultSet, wanted: number): GateReport {
  const spread = Math.max(base.aaSpread ?? 0, head.aaSpread ?? 0);
  const threshold = Math.max(wanted, AA_FACTOR * spread);
  const { verdicts, sessionShift } = judgeStored(joined(base, head), threshold);
  const widened =
    threshold > wanted
      ? [`the A/A spread of ${(100 * spread).toFixed(1)} % raises the threshold: a noisy run`]
      : [];
  const warnings = [
    ...base.warnings.map((w) => `base: ${w}`),
    ...head.warnings.map((w) => `head: ${w}`),
    ...widened,
    ...shiftWarning(sessionShift, threshold),
  ];
  return { threshold, verdicts, warnings };
}

/** Cells that base could measure and head could not, by what became of them. */
function failuresOf(base: ResultSet, head: ResultSet): { incorrect: boolean; failed: boolean } {
  let failed = false;
  let incorrect = false;
  for (const [key, cell] of head.cells) {
    if (cell.reason === null || (base.cells.get(key)?.runs.length ?? 0) === 0) continue;
    incorrect ||= cell.incorrect;
    failed ||= cell.runs.length === 0;
  }
  return { incorrect, failed };
}

/** `polar-bench compare BASE HEAD`. Returns the exit code, after everything is printed. */
export async function compare(
  basePath: string,
  headPath: string,
  options: Readonly<Record<string, string | boolean | undefined>>,
  terminal: Terminal,
): Promise<number> {
  const text = (name: string): string | undefined =>
    typeof options[name] === 'string' ? options[name] : undefined;
  const format = oneOf('format', GATE_FORMATS, text('format') ?? 'table');
  const failOn = text('failOn');
  const wanted = failOn === undefined ? STORED_THRESHOLD : parseFailOn(failOn);
  const base = readResultSet('BASE', basePath);
  const head = readResultSet('HEAD', headPath);
  const differing = base.cells.size > 0 && head.cells.size > 0 ? differences(base, head) : [];
  const title = 'polar-bench compare';
  if (differing.length > 0) {
    const warnings = differing.map((d) => `not comparable: ${d}`);
    const nothing = { threshold: wanted, verdicts: [], warnings };
    await printGate(title, nothing, format, EXIT.inconclusive, terminal);
    throw new PolarBenchError(
      'E_USAGE',
      `Expected results of the same device and settings for BASE and HEAD, got other ones (${differing.join('; ')})`,
      EXIT.inconclusive,
      { hint: 'Measure the baseline again on this machine, or compare two builds with `polar-bench ab`.' },
    );
  }
  const found = report(base, head, wanted);
  const code = gateExitCode(found, options['strict'] === true, failuresOf(base, head));
  return printGate(title, found, format, code, terminal);
}

import { appendFileSync } from 'node:fs';

import { EXIT, SinkError } from '../core/errors.js';
import { countVerdicts, type GateReport } from '../core/verdict.js';
import { gateAnnotations, gateJson, gateMarkdown, gateTable } from '../sinks/gate.js';
import { type Terminal, warn } from './terminal.js';

export const GATE_FORMATS = ['table', 'md', 'json', 'github'] as const;
export type GateFormat = (typeof GATE_FORMATS)[number];

async function formatted(
  report: GateReport,
  format: GateFormat,
  unclear: boolean,
): Promise<Iterable<string>> {
  switch (format) {
    case 'table':
      return [await gateTable(report)];
    case 'json':
      return gateJson(report);
    case 'md':
      return [gateMarkdown(report)];
    case 'github':
      return [gateAnnotations(report, unclear), gateMarkdown(report)];
  }
}

/** Appends to the file that GitHub shows as the summary of the step; returns why that failed, null where it did not. */
function writeStepSummary(title: string, report: GateReport, terminal: Terminal): SinkError | null {
  const path = terminal.env['GITHUB_STEP_SUMMARY'] ?? '';
  if (path === '') return null;
  try {
    appendFileSync(path, `### ${title}\n\n${gateMarkdown(report)}\n`);
    return null;
  } catch (cause) {
    return new SinkError(`Expected to write ${path}, got ${(cause as Error).message}`, {
      hint: 'GITHUB_STEP_SUMMARY must name a file that can be written.',
      cause,
    });
  }
}

/**
 * Prints a report: results to stdout, warnings to stderr, and on GitHub the step summary and annotations. The exit code
 * goes through here: a gate that fails has always said why.
 *
 * @param title what was compared, our own text
 * @param code what the verdicts make of it
 * @returns the same code; a summary that cannot be written is a warning beside a verdict that already fails
 * @throws SinkError when the summary cannot be written and nothing else is wrong
 */
export async function printGate(
  title: string,
  report: GateReport,
  format: GateFormat,
  code: number,
  terminal: Terminal,
): Promise<number> {
  const unclear = code === EXIT.inconclusive;
  for (const piece of await formatted(report, format, unclear)) terminal.stdout.write(piece);
  for (const warning of report.warnings) warn(terminal, warning);
  if (terminal.env['GITHUB_ACTIONS'] !== 'true') return code;
  // Runners read commands from both streams; stdout may be redirected into a file.
  if (format !== 'github') terminal.stderr.write(gateAnnotations(report, unclear));
  const unwritten = writeStepSummary(title, report, terminal);
  if (unwritten === null) return code;
  if (code === EXIT.ok) throw unwritten;
  warn(terminal, unwritten.message);
  return code;
}

/**
 * @param failures what head could not measure although base could: `incorrect` outranks every verdict
 */
export function gateExitCode(
  report: GateReport,
  strict: boolean,
  failures: { readonly incorrect: boolean; readonly failed: boolean },
): number {
  const counts = countVerdicts(report.verdicts);
  const comparable = counts.regressed + counts.improved + counts.same + counts.inconclusive;
  if (failures.incorrect) return EXIT.incorrect;
  if (counts.regressed > 0) return EXIT.regressed;
  if (comparable === 0 || (strict && counts.inconclusive + counts.missing > 0)) return EXIT.inconclusive;
  return failures.failed ? EXIT.failedCells : EXIT.ok;
}

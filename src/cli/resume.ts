import { join } from 'node:path';

import type { Command } from 'commander';

import { UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { readEnvironment } from '../sinks/environment-file.js';
import { RESULT_FILES, type ResultFolder } from '../sinks/folder.js';
import { type PlanFile, readPlan, shardCells } from '../sinks/plan-file.js';
import { type Format, FORMATS } from '../sinks/sink.js';
import { hangSeconds, oneOf } from './flags.js';
import type { EarlierRun } from './sweep-run.js';

export interface ResumeInvocation {
  /** As the user wrote it */
  readonly folder: string;
  readonly format: Format;
  readonly hangSeconds: number;
  readonly quiet: boolean;
}

/** What may be said beside --resume: how to print and how long to wait, never what to measure. */
const ALLOWED = ['resume', 'format', 'quiet', 'hangTimeout'];

/**
 * @returns null without --resume
 * @throws UsageError when a flag asks for something else than what the folder was made for
 */
export function resumeInvocation(
  options: Readonly<Record<string, unknown>>,
  command: Command,
): ResumeInvocation | null {
  const folder = options['resume'];
  if (typeof folder !== 'string') return null;
  const other = Object.keys(options).find(
    (name) => !ALLOWED.includes(name) && command.getOptionValueSource(name) === 'cli',
  );
  if (other !== undefined) {
    const flag = `--${other.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
    throw new UsageError(`Expected no ${flag} beside --resume, got ${quoted(options[other])}`, {
      hint: 'The plan comes from the folder; start a new sweep to measure something else.',
    });
  }
  const text = (name: string): string | undefined =>
    typeof options[name] === 'string' ? options[name] : undefined;
  return {
    folder,
    format: oneOf('format', FORMATS, text('format') ?? 'table'),
    hangSeconds: hangSeconds(text('hangTimeout')),
    quiet: options['quiet'] === true,
  };
}

/**
 * What an interrupted sweep has left in its folder. A last line of samples.jsonl that was cut off is removed.
 *
 * @param folder acquired
 * @param given the folder as the user wrote it
 * @throws UsageError when plan, samples and environment do not belong together
 */
export function readEarlierRun(
  folder: ResultFolder,
  given: string,
): { plan: PlanFile; earlier: EarlierRun; truncation: string | null } {
  const plan = readPlan(join(folder.path, RESULT_FILES.plan), given);
  const environment = readEnvironment(join(folder.path, RESULT_FILES.environment), given);
  const { records, truncation } = folder.recover();
  const planned = new Set(shardCells(plan.plan, plan.shard).map((cell) => cell.key));
  const seen = new Set<string>();
  for (const { cell } of records) {
    if (!planned.has(cell.key) || seen.has(cell.key)) {
      const what = seen.has(cell.key) ? 'a cell twice' : 'a cell that is not planned';
      throw new UsageError(
        `Expected samples of the plan in ${given}, got ${what}: ${quoted(cell.key, 200)}`,
        {
          hint: 'plan.json or samples.jsonl was changed; start a new sweep.',
        },
      );
    }
    seen.add(cell.key);
  }
  if (records.length > 0 && environment === null) {
    throw new UsageError(`Expected env.json beside the samples in ${given}, got none`, {
      hint: 'Without it nobody knows which machine measured them; start a new sweep.',
    });
  }
  return { plan, earlier: { records, environment }, truncation };
}

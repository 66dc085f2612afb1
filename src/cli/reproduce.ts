import type { Command } from 'commander';

import { EXIT, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { Row } from '../core/row.js';
import { prepareFolder, reopenFolder, type ResultFolder } from '../sinks/folder.js';
import type { PlanFile } from '../sinks/plan-file.js';
import {
  readReproduceRequest,
  type ReproduceRequest,
  writeReproduceRequest,
} from '../sinks/reproduce-file.js';
import { chooseBackend, type ChosenBackend } from './backend-choice.js';
import { allClaims } from './claims-file.js';
import { defaultFolder } from './default-folder.js';
import { printPlan } from './dry-run.js';
import { hangSeconds, oneOf } from './flags.js';
import { reproCommand } from './repro.js';
import { planReproduce, type ReproducePlan } from './reproduce-plan.js';
import {
  CLAIM_FORMATS,
  type ClaimFormat,
  type Options,
  type ReproduceInvocation,
  reproduceInvocation,
  textOf,
} from './reproduce-request.js';
import { judge, printClaims, writeResults } from './reproduce-results.js';
import { readEarlierRun } from './resume.js';
import { type EarlierRun, measureSweep } from './sweep-run.js';
import { say, type Terminal, warn } from './terminal.js';

/** One run of `reproduce`, fresh or resumed. */
interface Run {
  readonly planned: ReproducePlan;
  readonly request: ReproduceRequest;
  readonly file: PlanFile;
  readonly chosen: ChosenBackend;
  /** Acquired */
  readonly folder: ResultFolder;
  readonly earlier: EarlierRun | null;
  readonly startedAt: string;
  readonly format: ClaimFormat;
  readonly terminal: Terminal;
}

function planFileOf({ plan }: ReproducePlan): PlanFile {
  const names = plan.cells.map((cell) => cell.model.name);
  return { plan, shard: null, modelArguments: Object.fromEntries(names.map((name) => [name, name])) };
}

async function measureAndJudge(run: Run): Promise<number> {
  const { file, chosen, folder, earlier, startedAt, terminal, request } = run;
  let rows: readonly Row[] = [];
  let exitCode: number = EXIT.ok;
  if (earlier === null) writeReproduceRequest(folder.path, request);
  if (file.plan.cells.length > 0) {
    exitCode = await measureSweep({
      plan: file,
      chosen,
      folder,
      earlier,
      startedAt,
      print: (all) => {
        rows = all;
        return Promise.resolve();
      },
      command: 'reproduce',
      argv: process.argv.slice(2),
      reproCommand: (cell, candidate) => reproCommand(cell.model.name, cell, candidate),
      terminal,
    });
  } else if (earlier === null) {
    folder.writePlan(file);
  }
  if (exitCode === EXIT.interrupted) return exitCode;
  const claims = judge(run.planned, request.scale, rows, folder.path);
  await writeResults(folder.path, claims);
  if (request.scale === 'small') {
    say(
      terminal,
      'tested at small scale: small shapes in place of the paper’s; the numbers say how this machine scales',
    );
  }
  await printClaims(claims, run.format, terminal);
  say(terminal, `verdicts, tables, plots and report.html are in ${folder.path}`);
  return exitCode;
}

async function within(folder: ResultFolder, work: () => Promise<number>): Promise<number> {
  folder.acquire();
  try {
    return await work();
  } finally {
    folder.release();
  }
}

function announce(chosen: ChosenBackend, run: Pick<Run, 'planned' | 'request'>, terminal: Terminal): void {
  for (const reason of chosen.passedOver) say(terminal, `not used: ${reason}`);
  say(terminal, `backend ${chosen.backend.name}: ${chosen.facts.name}`);
  const { claims, plan } = run.planned;
  const measurable = claims.filter((c) => c.cells.length > 0).length;
  const cells = `${plan.cells.length} ${plan.cells.length === 1 ? 'cell' : 'cells'}`;
  say(
    terminal,
    `${measurable} of ${claims.length} claims can be measured, scale ${run.request.scale}: ${cells}`,
  );
}

async function fresh(invocation: ReproduceInvocation, terminal: Terminal): Promise<number> {
  const { claims, threads, maxTimeS } = invocation;
  const chosen = await chooseBackend(invocation.backend, invocation.device, invocation.hangSeconds);
  try {
    const { name, device } = chosen.backend;
    // The paper's shapes need the bandwidth of a data-centre GPU: hours on a CPU.
    const scale = invocation.scale ?? (name === 'cpu' ? 'small' : 'full');
    const planned = planReproduce(claims, { scale, backend: name, device, threads, maxTimeS });
    const request = {
      claims: claims.map((c) => c.id),
      scale,
      threads,
      maxTimeS,
      deviceSpecs: invocation.deviceSpecs,
    };
    announce(chosen, { planned, request }, terminal);
    if (invocation.dryRun) {
      await printPlan(planned.plan, chosen.facts, terminal);
      return EXIT.ok;
    }
    const startedAt = new Date().toISOString();
    const folder = prepareFolder(invocation.out ?? defaultFolder(chosen.facts, 'reproduce', startedAt));
    const file = planFileOf(planned);
    const { format } = invocation;
    return await within(folder, () =>
      measureAndJudge({
        planned,
        request,
        file,
        chosen,
        folder,
        earlier: null,
        startedAt,
        format,
        terminal,
      }),
    );
  } finally {
    await chosen.backend.close();
  }
}

/** Claims and settings come from the folder; its plan must be what they give today. */
async function resumed(given: string, options: Options, terminal: Terminal): Promise<number> {
  const folder = reopenFolder(given);
  return within(folder, async () => {
    const request = readReproduceRequest(folder.path, given);
    const { plan: file, earlier, truncation } = readEarlierRun(folder, given);
    if (truncation !== null) warn(terminal, `${truncation}; its cell is measured again`);
    const [first] = file.plan.cells;
    const patience = hangSeconds(textOf(options, 'hangTimeout'));
    const chosen = await chooseBackend(first?.backend ?? 'auto', first?.device ?? 0, patience);
    try {
      const { name: backend, device } = chosen.backend;
      const claims = allClaims().filter((c) => request.claims.includes(c.id));
      const planned = planReproduce(claims, { ...request, backend, device });
      const known = new Set(file.plan.cells.map((cell) => cell.key));
      if (planned.plan.cells.some((cell) => !known.has(cell.key))) {
        throw new UsageError(
          `Expected the claims of this version for --resume, got the plan of another in ${given}`,
          {
            hint: 'The claims or the kernels have changed since; start again with --out.',
          },
        );
      }
      say(terminal, `resuming ${folder.path}: ${earlier.records.length} cells are done`);
      const startedAt = new Date().toISOString();
      const format = oneOf('format', CLAIM_FORMATS, textOf(options, 'format') ?? 'table');
      return await measureAndJudge({
        planned,
        request,
        file,
        chosen,
        folder,
        earlier,
        startedAt,
        format,
        terminal,
      });
    } finally {
      await chosen.backend.close();
    }
  });
}

/** What may be said beside --resume. */
const BESIDE_RESUME = ['resume', 'format', 'quiet', 'hangTimeout'];

/** `polar-bench reproduce [claim...]`. A refuted claim is a result: exit 0. */
export async function reproduce(
  names: readonly string[],
  options: Options,
  command: Command,
  outer: Terminal,
): Promise<number> {
  const terminal = { ...outer, quiet: options['quiet'] === true };
  const given = textOf(options, 'resume');
  if (given === undefined) return fresh(reproduceInvocation(names, options), terminal);
  const other =
    names[0] ??
    Object.keys(options).find(
      (name) => !BESIDE_RESUME.includes(name) && command.getOptionValueSource(name) === 'cli',
    );
  if (other !== undefined) {
    throw new UsageError(`Expected nothing else to be chosen beside --resume, got ${quoted(other)}`, {
      hint: 'Claims and scale come from the folder; start a new run to measure something else.',
    });
  }
  return resumed(given, options, terminal);
}

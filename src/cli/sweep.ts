import type { Command } from 'commander';

import type { Cell } from '../core/cell.js';
import { EXIT, PolarBenchError, UsageError } from '../core/errors.js';
import type { ModelShape } from '../core/model-shape.js';
import type { SweepPlan } from '../core/plan.js';
import { expandSweep } from '../plan/expand.js';
import { prepareFolder, reopenFolder } from '../sinks/folder.js';
import { type PlanFile, shardCells } from '../sinks/plan-file.js';
import { chooseBackend, type ChosenBackend } from './backend-choice.js';
import { defaultFolder } from './default-folder.js';
import { densitySources } from './density-sources.js';
import { printPlan } from './dry-run.js';
import { printResults } from './print-rows.js';
import { reproCommand } from './repro.js';
import { readEarlierRun, type ResumeInvocation, resumeInvocation } from './resume.js';
import { loadModels, type SweepInvocation, sweepInvocation } from './sweep-request.js';
import { measureSweep, type SweepJob } from './sweep-run.js';
import { say, type Terminal, warn } from './terminal.js';

function planOf(
  invocation: SweepInvocation,
  models: readonly ModelShape[],
  chosen: ChosenBackend,
): SweepPlan {
  const plan = expandSweep(
    {
      ...invocation.request,
      models,
      backend: chosen.backend.name,
      device: chosen.backend.device,
    },
    densitySources(invocation.mlpTopk),
  );
  if (plan.cells.length === 0) {
    const why = plan.exclusions.map((e) => `${e.model} ${e.scope} ${e.variant}: ${e.reason}`).join('; ');
    // Nothing was wrong with the request itself: the defaults left nothing over.
    throw new PolarBenchError(
      'E_PLAN',
      `Expected something to measure, got an empty plan (${why})`,
      EXIT.failedCells,
      { hint: 'Choose other variants, scopes or densities.' },
    );
  }
  return plan;
}

const folderName = (models: readonly ModelShape[]): string =>
  models.length === 1 ? (models[0]?.name ?? '') : `${models.length}-models`;

function announce(chosen: ChosenBackend, plan: SweepPlan, terminal: Terminal): void {
  for (const reason of chosen.passedOver) say(terminal, `not used: ${reason}`);
  say(terminal, `backend ${chosen.backend.name}: ${chosen.facts.name}`);
  for (const e of plan.exclusions) say(terminal, `left out: ${e.model} ${e.scope} ${e.variant}: ${e.reason}`);
}

/** Why nothing of a shard can be measured: there are more shards than cells. */
function refuseEmptyShard(plan: PlanFile): void {
  if (shardCells(plan.plan, plan.shard).length > 0) return;
  throw new UsageError(
    `Expected at most ${plan.plan.cells.length} shards for --shard, got ${plan.shard?.count ?? 1}`,
    { hint: 'The plan has fewer cells than that.' },
  );
}

/** Measures into a new folder and lets go of it, whatever happens. */
async function measureInto(out: string, job: Omit<SweepJob, 'folder'>): Promise<number> {
  const folder = prepareFolder(out);
  folder.acquireNew(out);
  try {
    return await measureSweep({ ...job, folder });
  } finally {
    folder.release();
  }
}

/** `--resume DIR`: everything but how to print comes from the folder. */
async function resumeSweep(given: string, invocation: ResumeInvocation, terminal: Terminal): Promise<number> {
  const folder = reopenFolder(given);
  folder.acquire();
  try {
    const { plan, earlier, truncation } = readEarlierRun(folder, given);
    if (truncation !== null) warn(terminal, `${truncation}; its cell is measured again`);
    const [first] = plan.plan.cells;
    const chosen = await chooseBackend(first?.backend ?? 'auto', first?.device ?? 0, invocation.hangSeconds);
    try {
      say(terminal, `resuming ${folder.path}: ${earlier.records.length} cells are done`);
      return await measureSweep({
        plan,
        chosen,
        folder,
        earlier,
        startedAt: new Date().toISOString(),
        print: (rows, breakdown) => printResults(rows, breakdown, invocation.format, terminal),
        command: 'sweep',
        argv: process.argv.slice(2),
        reproCommand: (cell, candidate) =>
          reproCommand(plan.modelArguments[cell.model.name] ?? cell.model.name, cell, candidate),
        terminal,
      });
    } finally {
      await chosen.backend.close();
    }
  } finally {
    folder.release();
  }
}

/** `polar-bench sweep`. Returns the exit code; throws before anything was measured or written. */
export async function sweep(
  options: Readonly<Record<string, unknown>>,
  command: Command,
  outer: Terminal,
): Promise<number> {
  const resumed = resumeInvocation(options, command);
  if (resumed !== null) return resumeSweep(resumed.folder, resumed, { ...outer, quiet: resumed.quiet });
  const invocation = sweepInvocation(options, command);
  const terminal = { ...outer, quiet: invocation.quiet };
  const models = loadModels(invocation.models);
  const chosen = await chooseBackend(
    invocation.backend,
    invocation.request.device ?? 0,
    invocation.hangSeconds,
  );
  try {
    const plan: PlanFile = {
      plan: planOf(invocation, models, chosen),
      shard: invocation.shard,
      modelArguments: Object.fromEntries(models.map((m, i) => [m.name, invocation.models[i] ?? m.name])),
    };
    refuseEmptyShard(plan);
    announce(chosen, plan.plan, terminal);
    if (invocation.dryRun) {
      const cells = shardCells(plan.plan, plan.shard);
      await printPlan({ ...plan.plan, cells }, chosen.facts, terminal);
      return EXIT.ok;
    }
    const startedAt = new Date().toISOString();
    const named = new Map(models.map((model, i) => [model, invocation.models[i] ?? model.name]));
    return await measureInto(invocation.out ?? defaultFolder(chosen.facts, folderName(models), startedAt), {
      plan,
      chosen,
      earlier: null,
      startedAt,
      print: (rows, breakdown) => printResults(rows, breakdown, invocation.format, terminal),
      command: 'sweep',
      argv: process.argv.slice(2),
      reproCommand: (cell: Cell, candidate) =>
        reproCommand(named.get(cell.model) ?? cell.model.name, cell, candidate),
      terminal,
    });
  } finally {
    await chosen.backend.close();
  }
}

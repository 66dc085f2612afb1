import type { Command } from 'commander';

import type { Cell } from '../core/cell.js';
import type { DeviceFacts } from '../core/environment.js';
import { EXIT, PolarBenchError } from '../core/errors.js';
import type { ModelShape } from '../core/model-shape.js';
import type { SweepPlan } from '../core/plan.js';
import { expandSweep } from '../plan/expand.js';
import { prepareFolder } from '../sinks/folder.js';
import { chooseBackend, type ChosenBackend } from './backend-choice.js';
import { densitySources } from './density-sources.js';
import { printPlan } from './dry-run.js';
import type { Shard } from './flags.js';
import { reproCommand } from './repro.js';
import { loadModels, type SweepInvocation, sweepInvocation } from './sweep-request.js';
import { measureSweep } from './sweep-run.js';
import { say, type Terminal } from './terminal.js';

/** Every N-th cell, so that shards are of like cost. */
function takeShard(plan: SweepPlan, shard: Shard | null): SweepPlan {
  if (shard === null) return plan;
  return { ...plan, cells: plan.cells.filter((_, i) => i % shard.count === shard.index - 1) };
}

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
  return takeShard(plan, invocation.shard);
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/^[-.]+|-+$/g, '')
    .slice(0, 60);
}

/** "results/nvidia-h200/2026-01-31T09-30-00-llama-3-8b" */
function defaultFolder(facts: DeviceFacts, models: readonly ModelShape[], startedAt: string): string {
  const time = startedAt.slice(0, 19).replaceAll(':', '-');
  const name = models.length === 1 ? slug(models[0]?.name ?? '') : `${models.length}-models`;
  return `results/${slug(facts.name) || facts.backend}/${time}-${name || 'model'}`;
}

function announce(chosen: ChosenBackend, plan: SweepPlan, terminal: Terminal): void {
  for (const reason of chosen.passedOver) say(terminal, `not used: ${reason}`);
  say(terminal, `backend ${chosen.backend.name}: ${chosen.facts.name}`);
  for (const e of plan.exclusions) say(terminal, `left out: ${e.model} ${e.scope} ${e.variant}: ${e.reason}`);
}

/** `polar-bench sweep`. Returns the exit code; throws before anything was measured or written. */
export async function sweep(
  options: Readonly<Record<string, unknown>>,
  command: Command,
  outer: Terminal,
): Promise<number> {
  const invocation = sweepInvocation(options, command);
  const terminal = { ...outer, quiet: invocation.quiet };
  const models = loadModels(invocation.models);
  const chosen = await chooseBackend(invocation.backend, invocation.request.device ?? 0);
  try {
    const plan = planOf(invocation, models, chosen);
    announce(chosen, plan, terminal);
    if (invocation.dryRun) {
      await printPlan(plan, chosen.facts, terminal);
      return EXIT.ok;
    }
    const startedAt = new Date().toISOString();
    const folder = prepareFolder(invocation.out ?? defaultFolder(chosen.facts, models, startedAt));
    const named = new Map(models.map((model, i) => [model, invocation.models[i] ?? model.name]));
    return await measureSweep({
      plan,
      chosen,
      folder,
      startedAt,
      format: invocation.format,
      argv: process.argv.slice(2),
      reproCommand: (cell: Cell, candidate) =>
        reproCommand(named.get(cell.model) ?? cell.model.name, cell, candidate),
      terminal,
    });
  } finally {
    await chosen.backend.close();
  }
}

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

import type { Command } from 'commander';

import { ChildBackend } from '../backends/host/child-backend.js';
import { PROTOCOL_VERSION } from '../backends/host/protocol.js';
import { AUTO_ORDER } from '../backends/registry.js';
import type { BackendName } from '../core/cell.js';
import { BackendUnavailableError, EXIT, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { SweepPlan } from '../core/plan.js';
import type { GateReport, GateVerdict } from '../core/verdict.js';
import { confirm, judgePaired, PAIRED_ROUNDS, PAIRED_THRESHOLD } from '../gate/paired.js';
import { expandSweep } from '../plan/expand.js';
import { type AbCandidate, abCandidates, measureRounds, pairedCell, type Sides } from './ab-run.js';
import { parseFailOn } from './compare.js';
import { densitySources } from './density-sources.js';
import { numberFlag, oneOf } from './flags.js';
import { GATE_FORMATS, gateExitCode, printGate } from './gate-output.js';
import { abortOnSignals } from './signals.js';
import { loadModels, type SweepInvocation, sweepInvocation } from './sweep-request.js';
import { duration, say, type Terminal, warn } from './terminal.js';

/** Seconds of sampling per build, cell and round, unless --max-time says otherwise: many short rounds beat few long. */
const SECONDS_PER_ROUND = 0.25;
const MIN_SAMPLES = 5;

interface AbInvocation {
  readonly base: string;
  readonly head: string;
  readonly rounds: number;
  readonly threshold: number;
  readonly strict: boolean;
  readonly format: (typeof GATE_FORMATS)[number];
  readonly sweep: SweepInvocation;
}

function abInvocation(options: Readonly<Record<string, unknown>>, command: Command): AbInvocation {
  const text = (name: string): string | undefined =>
    typeof options[name] === 'string' ? options[name] : undefined;
  const folder = (name: 'base' | 'head'): string => {
    const value = text(name);
    if (value !== undefined) return value;
    throw new UsageError(`Expected a build of polar-bench for --${name}, got nothing`, {
      hint: 'Name a folder that holds dist/ and build/Release/: a clone after `npm ci`.',
    });
  };
  const planned = ['model', 'preset', 'config'].some((name) => options[name] !== undefined);
  // The gate has formats of its own, which the sweep's reader of flags does not know.
  const sweepOptions = { ...options, format: undefined, ...(planned ? {} : { preset: 'smoke' }) };
  const failOn = text('failOn');
  return {
    base: folder('base'),
    head: folder('head'),
    rounds: numberFlag(
      'rounds',
      { min: 2, max: 1000, integer: true },
      text('rounds') ?? String(PAIRED_ROUNDS),
    ),
    threshold: failOn === undefined ? PAIRED_THRESHOLD : parseFailOn(failOn),
    strict: options['strict'] === true,
    format: oneOf('format', GATE_FORMATS, text('format') ?? 'table'),
    sweep: sweepInvocation(sweepOptions, command),
  };
}

function openBuild(
  name: 'base' | 'head',
  folder: string,
  backend: BackendName,
  sweep: SweepInvocation,
): ChildBackend {
  const module = resolve(join(folder, 'dist/backends/host/child.js'));
  if (!existsSync(module)) {
    throw new UsageError(
      `Expected a build of polar-bench for --${name}, got ${quoted(folder)} without dist/`,
      {
        hint: 'Name a folder that holds dist/ and build/Release/: a clone after `npm ci`.',
      },
    );
  }
  return new ChildBackend(backend, sweep.request.device ?? 0, {
    module,
    hangMs: 1000 * sweep.hangSeconds,
    // Each build loads the addon beside it, whatever this process was told to use.
    env: { POLAR_BENCH_ADDON: undefined },
  });
}

async function checkProtocol(name: 'base' | 'head', side: ChildBackend): Promise<void> {
  const version = await side.protocolVersion();
  if (version === PROTOCOL_VERSION) return;
  throw new UsageError(
    `Expected a build that speaks protocol ${PROTOCOL_VERSION} for --${name}, got ${version ?? 'an older one'}`,
    { hint: 'Run `ab` from the newer build, or compare stored results with `polar-bench compare`.' },
  );
}

/** Both builds on one backend: the one that was named, else the first on which both work. */
async function openSides(
  invocation: AbInvocation,
): Promise<{ sides: Sides & Record<'base' | 'head', ChildBackend>; device: string }> {
  const wanted = invocation.sweep.backend;
  const reasons: string[] = [];
  for (const name of wanted === 'auto' ? AUTO_ORDER : [wanted]) {
    const base = openBuild('base', invocation.base, name, invocation.sweep);
    const head = openBuild('head', invocation.head, name, invocation.sweep);
    try {
      await checkProtocol('base', base);
      await checkProtocol('head', head);
      await base.describe();
      return { sides: { base, head }, device: (await head.describe()).name };
    } catch (error) {
      await Promise.all([base.close(), head.close()]);
      if (!(error instanceof BackendUnavailableError)) throw error;
      reasons.push(`${name}: ${error.message}`);
    }
  }
  throw new BackendUnavailableError(
    `Expected a backend on which both builds work, got none (${reasons.join('; ')})`,
    { hint: 'Run `polar-bench doctor` in both folders.' },
  );
}

function planOf(invocation: AbInvocation, sides: Sides): SweepPlan {
  const { sweep } = invocation;
  const { backend, head } = { backend: sides.head.name, head: sides.head };
  const plan = expandSweep(
    {
      maxTimeS: SECONDS_PER_ROUND,
      minSamples: MIN_SAMPLES,
      ...sweep.request,
      models: loadModels(sweep.models),
      backend,
      device: head.device,
    },
    densitySources(sweep.mlpTopk),
  );
  if (plan.cells.length > 0) return plan;
  throw new UsageError('Expected something to measure, got an empty plan', {
    hint: 'Choose other variants, scopes or densities.',
  });
}

/** Everything between the first pair and the last verdict. */
class AbJob {
  constructor(
    private readonly invocation: AbInvocation,
    private readonly sides: Sides,
    private readonly plan: SweepPlan,
    private readonly signal: AbortSignal,
    private readonly terminal: Terminal,
  ) {}

  async measure(what: string, candidates: readonly AbCandidate[], rounds: number): Promise<void> {
    const started = performance.now();
    let said = started;
    await measureRounds(candidates, rounds, this.sides, this.plan, this.signal, (done, total) => {
      const now = performance.now();
      if (now - said < 5_000) return;
      said = now;
      const left = duration(((now - started) / 1000 / done) * (total - done));
      say(this.terminal, `${what}: pair ${done} of ${total}, about ${left} left`);
    });
  }

  judge(candidates: readonly AbCandidate[]): GateVerdict[] {
    return judgePaired(candidates.map(pairedCell), this.invocation.threshold);
  }

  /** Rounds, twice as many where they were not enough, and findings once more in fresh processes. */
  async verdicts(candidates: readonly AbCandidate[]): Promise<GateVerdict[]> {
    const { rounds } = this.invocation;
    await this.measure('measuring', candidates, rounds);
    const pick = (verdicts: readonly GateVerdict[], wanted: RegExp): AbCandidate[] =>
      candidates.filter((c, i) => c.pairs.length > 0 && wanted.test(verdicts[i]?.verdict ?? ''));
    const unclear = pick(this.judge(candidates), /^inconclusive$/);
    if (unclear.length > 0) await this.measure(`more rounds for ${unclear.length} unclear`, unclear, rounds);
    const first = this.judge(candidates);
    const flagged = pick(first, /^(regressed|improved)$/);
    if (flagged.length === 0 || this.signal.aborted) return first;
    // Findings are tested on new data, because the first data chose them, and on twice as much: what is left of chance
    // then is far from the threshold.
    const again = flagged.map((c) => ({ ...c, pairs: [] }));
    await this.measure(`once more, ${flagged.length} found`, again, 2 * rounds);
    const second = this.judge(again);
    // What only failed the second time has failed all the same.
    flagged.forEach((c, i) => {
      c.baseReason = again[i]?.baseReason ?? null;
      c.headReason = again[i]?.headReason ?? null;
      c.incorrect ||= again[i]?.incorrect ?? false;
    });
    const byCandidate = new Map(flagged.map((c, i) => [c, second[i]]));
    return first.map((verdict, i) => {
      const repeated = byCandidate.get(candidates[i] as AbCandidate);
      return repeated === undefined ? verdict : confirm(verdict, repeated);
    });
  }
}

/** `polar-bench ab --base DIR --head DIR`. Returns the exit code, after everything is printed. */
export async function ab(
  options: Readonly<Record<string, unknown>>,
  command: Command,
  outer: Terminal,
): Promise<number> {
  const invocation = abInvocation(options, command);
  const terminal = { ...outer, quiet: options['quiet'] === true };
  const { sides, device } = await openSides(invocation);
  const { signal, dispose } = abortOnSignals([sides.base, sides.head]);
  try {
    const plan = planOf(invocation, sides);
    const candidates = await abCandidates(plan, sides);
    say(terminal, `${plan.cells.length} cells, ${candidates.length} kernels in them, on ${device}`);
    const job = new AbJob(invocation, sides, plan, signal, terminal);
    const verdicts = await job.verdicts(candidates);
    if (signal.aborted) {
      warn(terminal, 'interrupted: rounds that are not complete have no verdict');
      return EXIT.interrupted;
    }
    const report: GateReport = { threshold: invocation.threshold, verdicts, warnings: [] };
    const code = gateExitCode(report, invocation.strict, {
      incorrect: candidates.some((c) => c.incorrect && c.baseReason === null),
      failed: candidates.some((c) => c.headReason !== null && c.baseReason === null),
    });
    return await printGate('polar-bench ab', report, invocation.format, code, terminal);
  } catch (error) {
    if (!signal.aborted) throw error;
    warn(terminal, 'interrupted');
    return EXIT.interrupted;
  } finally {
    dispose();
    await Promise.all([sides.base.close(), sides.head.close()]);
  }
}

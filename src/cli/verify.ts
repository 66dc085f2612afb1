import type { Backend } from '../backends/backend.js';
import { BACKENDS, DTYPES, SCOPES } from '../core/cell.js';
import { EXIT } from '../core/errors.js';
import type { CandidateOutcome } from '../core/outcome.js';
import { OPTION_LIMITS } from '../plan/schema.js';
import { type VerifyCase, verifyCases } from '../plan/verify-cases.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { jsonDocument } from '../sinks/json.js';
import { chooseBackend } from './backend-choice.js';
import { hangSeconds, listOf, numberFlag, oneOf, parseShard } from './flags.js';
import { plainTable } from './plain-table.js';
import { say, type Terminal } from './terminal.js';

/** What all cases of a kernel and dtype found. */
interface KernelTally {
  readonly kernel: string;
  readonly dtype: string;
  passed: number;
  incorrect: number;
  failed: number;
  /** Largest share of its tolerance that an output row used */
  worstTolerance: number;
  maxRelErr: number;
}

interface Problem {
  readonly title: string;
  readonly kernel: string;
  readonly status: string;
  readonly reason: string;
}

class Tally {
  readonly kernels = new Map<string, KernelTally>();
  readonly problems: Problem[] = [];
  refused = 0;
  notRefused = 0;

  add(one: VerifyCase, outcomes: readonly CandidateOutcome[]): void {
    outcomes.forEach((outcome, i) => {
      const kernel = one.cell.candidates[i]?.kernel ?? '?';
      if (one.expect === 'refused') this.addRefusal(one, kernel, outcome);
      else this.addResult(one, kernel, outcome);
    });
  }

  private addRefusal(one: VerifyCase, kernel: string, outcome: CandidateOutcome): void {
    if (outcome.status === 'failed' && outcome.code === 'E_NATIVE') {
      this.refused++;
      return;
    }
    this.notRefused++;
    this.problems.push({ title: one.title, kernel, status: outcome.status, reason: 'was not refused' });
  }

  private addResult(one: VerifyCase, kernel: string, outcome: CandidateOutcome): void {
    const key = `${kernel} ${one.cell.dtype}`;
    const tally = this.kernels.get(key) ?? {
      kernel,
      dtype: one.cell.dtype,
      passed: 0,
      incorrect: 0,
      failed: 0,
      worstTolerance: 0,
      maxRelErr: 0,
    };
    this.kernels.set(key, tally);
    if (outcome.status === 'ok') {
      tally.passed++;
      tally.worstTolerance = Math.max(tally.worstTolerance, outcome.verification.toleranceUsed);
      tally.maxRelErr = Math.max(tally.maxRelErr, outcome.verification.maxRelErr);
      return;
    }
    if (outcome.status === 'incorrect') tally.incorrect++;
    else tally.failed++;
    this.problems.push({ title: one.title, kernel, status: outcome.status, reason: outcome.reason });
  }

  exitCode(): number {
    const all = [...this.kernels.values()];
    if (this.notRefused > 0 || all.some((t) => t.incorrect > 0)) return EXIT.incorrect;
    if (all.length === 0 || all.some((t) => t.failed > 0)) return EXIT.failedCells;
    return EXIT.ok;
  }
}

/** Problems printed one by one; the rest is counted. */
const PROBLEMS_SHOWN = 20;

async function printTally(tally: Tally, cases: number, terminal: Terminal): Promise<void> {
  const rows = [...tally.kernels.values()].map((t) => [
    t.kernel,
    t.dtype,
    String(t.passed),
    String(t.incorrect),
    String(t.failed),
    t.worstTolerance.toFixed(2),
    t.maxRelErr.toExponential(1),
  ]);
  const head = [
    'kernel',
    'dtype',
    'passed',
    'incorrect',
    'failed',
    'worst error / tolerance',
    'max rel. error',
  ];
  terminal.stdout.write(await plainTable(head, rows));
  for (const p of tally.problems.slice(0, PROBLEMS_SHOWN)) {
    terminal.stdout.write(`${sanitizeForTerminal(`${p.status}: ${p.kernel} in ${p.title}: ${p.reason}`)}\n`);
  }
  const more = tally.problems.length - PROBLEMS_SHOWN;
  if (more > 0) terminal.stdout.write(`... and ${more} more\n`);
  terminal.stdout.write(
    `${cases} cases; ${tally.refused} wrong index sets refused, ${tally.notRefused} not refused\n`,
  );
}

async function runCases(
  cases: readonly VerifyCase[],
  backend: Backend,
  settings: { threads: number; repeats: number },
  terminal: Terminal,
): Promise<Tally> {
  const tally = new Tally();
  let lastSaid = performance.now();
  for (const [i, one] of cases.entries()) {
    const outcome = await backend.verify({
      cell: one.cell,
      threads: settings.threads,
      indexPattern: one.indexPattern,
      indices: one.indices,
      repeats: settings.repeats,
    });
    tally.add(one, outcome.candidates);
    if (performance.now() - lastSaid > 2_000) {
      lastSaid = performance.now();
      say(terminal, `[${i + 1}/${cases.length}] ${one.title}`);
    }
  }
  return tally;
}

/** `polar-bench verify`: exit 0 when every kernel is right everywhere, 4 when one is not. */
export async function verify(
  options: Readonly<Record<string, string | boolean | undefined>>,
  outer: Terminal,
): Promise<number> {
  const text = (name: string): string | undefined =>
    typeof options[name] === 'string' ? options[name] : undefined;
  const integer = (name: string, limits: { min: number; max: number }, otherwise: number): number => {
    const value = text(name);
    return value === undefined ? otherwise : numberFlag(name, { ...limits, integer: true }, value);
  };
  const terminal = { ...outer, quiet: options['quiet'] === true };
  const format = oneOf('format', ['table', 'json'] as const, text('format') ?? 'table');
  const dtypes = listOf('dtype', DTYPES, text('dtype') ?? DTYPES.join(','));
  const scopes = listOf('scope', SCOPES, text('scope') ?? SCOPES.join(','));
  const wanted = oneOf('backend', ['auto', ...BACKENDS] as const, text('backend') ?? 'auto');
  const device = integer('device', OPTION_LIMITS.device, 0);
  const seed = integer('seed', { min: 0, max: 1_000_000 }, 1);
  const threads = integer('threads', OPTION_LIMITS.threads, 0);
  const repeats = integer('repeats', { min: 2, max: 1000 }, 10);
  const randomCases = integer('random', { min: 0, max: 10_000 }, 20);

  const part = text('shard');
  const shard = part === undefined ? null : parseShard(part);

  const { backend, facts } = await chooseBackend(wanted, device, hangSeconds(text('hangTimeout')));
  try {
    say(terminal, `verifying on ${facts.name} (${facts.backend})`);
    const all = verifyCases({
      backend: backend.name,
      device: backend.device,
      dtypes,
      scopes,
      seed,
      randomCases,
    });
    const cases = shard === null ? all : all.filter((_, i) => i % shard.count === shard.index - 1);
    const tally = await runCases(cases, backend, { threads, repeats }, terminal);
    if (format === 'json') {
      terminal.stdout.write(
        jsonDocument({
          schema_version: 1,
          device: facts.details,
          cases: cases.length,
          refused: tally.refused,
          not_refused: tally.notRefused,
          kernels: [...tally.kernels.values()].map((t) => ({
            kernel: t.kernel,
            dtype: t.dtype,
            passed: t.passed,
            incorrect: t.incorrect,
            failed: t.failed,
            worst_tolerance_share: t.worstTolerance,
            max_rel_err: t.maxRelErr,
          })),
          problems: tally.problems,
        }),
      );
    } else {
      await printTally(tally, cases.length, terminal);
    }
    return tally.exitCode();
  } finally {
    await backend.close();
  }
}

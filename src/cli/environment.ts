import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

import type { Ceilings, DeviceFacts } from '../core/environment.js';
import { toSnakeCase } from '../sinks/snake-case.js';
import { packageVersion } from './version.js';

const PACKAGE_ROOT = fileURLToPath(new URL('../..', import.meta.url));

function git(...args: string[]): string | null {
  try {
    return execFileSync('git', ['-C', PACKAGE_ROOT, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 5_000,
    }).trim();
  } catch {
    // No git, or an installed package instead of a clone: not available, which is not an error.
    return null;
  }
}

interface SourceState {
  readonly git_commit: string | null;
  readonly git_dirty: boolean | null;
}

/** What scripts/bundle.sh wrote down; null outside a bundle. */
function bundledState(): SourceState | null {
  const path = `${PACKAGE_ROOT}build-info.json`;
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as SourceState) : null;
}

/** Commit of the sources that run, and whether they had changes; null for an installed package. */
function sourceState(): SourceState {
  const bundled = bundledState();
  if (bundled !== null) return bundled;
  const top = git('rev-parse', '--show-toplevel');
  if (top === null || `${top}/` !== PACKAGE_ROOT) return { git_commit: null, git_dirty: null };
  const commit = git('rev-parse', 'HEAD');
  const status = git('status', '--porcelain', '--untracked-files=no');
  return { git_commit: commit, git_dirty: status === null ? null : status !== '' };
}

export interface EnvironmentInput {
  readonly runId: string;
  readonly argv: readonly string[];
  readonly seed: number;
  readonly threads: number;
  readonly device: DeviceFacts;
  /** null until measured */
  readonly ceilings: Ceilings | null;
  /** After the sweep; null until then */
  readonly ceilingsAfter: Ceilings | null;
  /** How far the ceilings are apart; null until measured twice */
  readonly ceilingsSpread: unknown;
  /** The A/A spread of this run; null until measured */
  readonly aaSpread: unknown;
  readonly startedAt: string;
  readonly endedAt: string | null;
}

/** What is needed to judge a number later: the content of env.json. */
export function environmentDocument(input: EnvironmentInput): Record<string, unknown> {
  const cpus = os.cpus();
  return {
    schema_version: 1,
    run_id: input.runId,
    polar_bench_version: packageVersion(),
    ...sourceState(),
    started_at: input.startedAt,
    ended_at: input.endedAt,
    argv: input.argv,
    seed: input.seed,
    threads: input.threads,
    backend: input.device.backend,
    device: input.device.details,
    device_index: input.device.device,
    host: {
      cpu: cpus[0]?.model ?? null,
      cpu_count: cpus.length,
      memory_bytes: os.totalmem(),
      kernel: `${os.type()} ${os.release()}`,
      arch: process.arch,
      load_average_1min: os.loadavg()[0] ?? null,
      node: process.version,
    },
    ceilings: input.ceilings?.details ?? {},
    ceilings_after: input.ceilingsAfter?.details ?? null,
    ceilings_spread: toSnakeCase(input.ceilingsSpread),
    aa_spread: toSnakeCase(input.aaSpread),
  };
}

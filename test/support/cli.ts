import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterEach } from 'vitest';

export const MAIN = resolve(import.meta.dirname, '../../dist/main.js');
export const FAULT_ADDON = resolve(import.meta.dirname, '../../build-test/Release/polar_bench.node');

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Runs the built program as a user would; the environment has no POLAR_BENCH_ variable but those given. */
export function runCli(args: readonly string[], options: CliOptions = {}): CliResult {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('POLAR_BENCH_')),
  );
  const result = spawnSync(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? process.cwd(),
    env: { ...clean, NO_COLOR: '1', ...options.env },
    encoding: 'utf8',
    timeout: options.timeoutMs ?? 60_000,
    maxBuffer: 1 << 26,
  });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

const folders: string[] = [];

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'polar-bench-'));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

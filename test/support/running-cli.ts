import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

import { type CliOptions, type CliResult, MAIN } from './cli.js';

/** A program under way that a test can watch and disturb. */
export interface RunningCli {
  readonly pid: number;
  /** Ends when the program does */
  readonly ended: Promise<CliResult & { readonly signal: NodeJS.Signals | null }>;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
}

/** Starts the built program as `runCli` does, without waiting for it. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('POLAR_BENCH_')),
  );
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? process.cwd(),
    env: { ...clean, NO_COLOR: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString('utf8')));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString('utf8')));
  const ended = new Promise<CliResult & { signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr }));
  });
  return {
    pid: child.pid ?? 0,
    ended,
    stderr: () => stderr,
    kill: (signal) => void child.kill(signal),
  };
}

/** Waits until a condition holds; throws, with what the program said, when it never does. */
export async function until(what: string, holds: () => boolean, running: RunningCli): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Waited in vain until ${what}: ${running.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Process ids of the children of a process. */
export function childrenOf(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

/** Finished cells in a samples.jsonl; 0 where there is none yet. */
export function finishedCells(path: string): number {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').length - 1 : 0;
}

#!/usr/bin/env node
/** The only place that prints an error and sets the exit code. */
import { InternalError, PolarBenchError } from './core/errors.js';
import { sanitizeForTerminal } from './report/sanitize.js';
import { runCli } from './cli/program.js';

// A reader that has seen enough (`| head -1`) is no error, and no success either: what follows still decides the exit
// code, so that a gate fails behind a pipe as well, and a sweep whose progress nobody reads any more goes on.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

function report(error: unknown): number {
  const known =
    error instanceof PolarBenchError
      ? error
      : new InternalError(error instanceof Error ? error.message : String(error), {
          hint: 'This is a bug of polar-bench; please report it with the command line.',
          cause: error,
        });
  process.stderr.write(`error: ${sanitizeForTerminal(known.message)} [${known.code}]\n`);
  if (known.hint !== undefined) process.stderr.write(`hint: ${sanitizeForTerminal(known.hint)}\n`);
  if (known instanceof InternalError) {
    const stack = known.cause instanceof Error ? known.cause.stack : known.stack;
    process.stderr.write(`${sanitizeForTerminal(stack ?? '')}\n`);
  }
  return known.exitCode;
}

try {
  process.exitCode = await runCli(process.argv, {
    env: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    quiet: false,
  });
} catch (error) {
  process.exitCode = report(error);
}

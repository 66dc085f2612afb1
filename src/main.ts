#!/usr/bin/env node
/** The only place that prints an error and sets the exit code. */
import { EXIT, InternalError, PolarBenchError } from './core/errors.js';
import { sanitizeForTerminal } from './report/sanitize.js';
import { runCli } from './cli/program.js';

// A reader that has seen enough (`| head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
});

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

import { EXIT } from '../core/errors.js';

/** Something that can end at once, whatever it is doing. */
interface Closable {
  close(): Promise<void>;
}

/**
 * On SIGINT and SIGTERM aborts and kills the measuring processes, so that what runs ends within a second; a second
 * signal ends this process without waiting for anything.
 *
 * @returns the signal of the abort, and a function that takes the handlers away again
 */
export function abortOnSignals(closables: readonly Closable[]): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
    controller.abort();
    for (const one of closables) void one.close();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

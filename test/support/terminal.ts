import { PassThrough } from 'node:stream';
import type { Terminal } from '../../src/cli/terminal.js';

/** A terminal that remembers what was written to it. */
export interface RecordedTerminal extends Terminal {
  out(): string;
  err(): string;
}

export function recordedTerminal(env: NodeJS.ProcessEnv = {}): RecordedTerminal {
  const record = (): { stream: PassThrough; text: () => string } => {
    const stream = new PassThrough();
    let all = '';
    stream.on('data', (data: Buffer) => (all += data.toString('utf8')));
    return { stream, text: () => all };
  };
  const [stdout, stderr] = [record(), record()];
  return {
    env,
    stdout: stdout.stream,
    stderr: stderr.stream,
    quiet: false,
    out: stdout.text,
    err: stderr.text,
  };
}

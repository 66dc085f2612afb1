import { sanitizeForTerminal } from '../report/sanitize.js';

/** The streams and the environment of one invocation; tests pass their own. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { isTTY?: boolean };
  readonly quiet: boolean;
}

/** Colour on a terminal, unless NO_COLOR; anywhere with FORCE_COLOR (https://no-color.org, https://force-color.org). */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  if ((env['NO_COLOR'] ?? '') !== '') return false;
  const force = env['FORCE_COLOR'];
  if (force !== undefined && force !== '') return force !== '0' && force !== 'false';
  return stream.isTTY === true;
}

/** A line for a person, on stderr. Names from files may be part of it, so it is sanitised here, once. */
export function say(terminal: Terminal, line: string): void {
  if (!terminal.quiet) terminal.stderr.write(`${sanitizeForTerminal(line)}\n`);
}

/** A warning: said even with --quiet. */
export function warn(terminal: Terminal, line: string): void {
  terminal.stderr.write(`warning: ${sanitizeForTerminal(line)}\n`);
}

/** 83 -> "1 min 23 s" */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** 2147483648 -> "2.15 GB" */
export function gigabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toPrecision(3)} GB` : `${(bytes / 1e6).toPrecision(3)} MB`;
}

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../core/errors.js';

const LOCK_FILE = '.lock';

/** Who writes into a folder. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** When the process started, in ticks since boot: a process id alone is used again. null where the system has no /proc */
  readonly startTicks: string | null;
}

/** Field 22 of /proc/PID/stat (proc(5)); null when there is no such process. */
function startTicksOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces and parentheses; what follows the last one does not.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether the owner may still write. One on another machine cannot be asked and counts as alive. */
function isAlive(owner: Owner): boolean {
  if (owner.host !== hostname()) return true;
  if (!isRunning(owner.pid)) return false;
  return owner.startTicks === null || startTicksOf(owner.pid) === owner.startTicks;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function parseOwner(text: string): Owner | null {
  try {
    const owner = JSON.parse(text) as Owner;
    return Number.isInteger(owner.pid) && typeof owner.host === 'string' ? owner : null;
  } catch {
    // The file is linked into place whole: what is no JSON was not written by us and protects nobody.
    return null;
  }
}

/** One writer at a time per folder; a lock whose process is gone is taken over. */
export class FolderLock {
  private constructor(
    private readonly path: string,
    private readonly content: string,
  ) {}

  /**
   * @param folder absolute path of an existing folder
   * @param name as the user wrote it, for messages
   * @throws UsageError when a running process holds the lock
   */
  static take(folder: string, name: string): FolderLock {
    const path = join(folder, LOCK_FILE);
    const owner: Owner = { pid: process.pid, host: hostname(), startTicks: startTicksOf(process.pid) };
    const content = `${JSON.stringify(owner)}\n`;
    const own = `${path}.${process.pid}`;
    writeFileSync(own, content);
    try {
      // A link appears whole or not at all, and never replaces another: exactly one of two processes gets it.
      for (let attempt = 0; attempt < 10; attempt += 1) {
        if (tryLink(own, path)) return new FolderLock(path, content);
        removeStale(path, `${own}.stale`, name);
      }
    } finally {
      rmSync(own, { force: true });
    }
    throw inUse(name, 'several processes');
  }

  release(): void {
    // Somebody who took this process for dead may hold it by now: then it is not ours to remove.
    if (readText(this.path) === this.content) rmSync(this.path, { force: true });
  }
}

function tryLink(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function inUse(name: string, who: string): UsageError {
  return new UsageError(
    `Expected a folder that no other sweep writes to for ${name}, got one in use by ${who}`,
    {
      hint: `Wait for it, or choose another folder. If nothing runs on that machine any more, delete ${LOCK_FILE} in the folder.`,
    },
  );
}

/** Takes a stale lock away. @throws UsageError when its owner is alive */
function removeStale(path: string, aside: string, name: string): void {
  const text = readText(path);
  if (text === null) return;
  const owner = parseOwner(text);
  if (owner !== null && isAlive(owner)) throw inUse(name, `process ${owner.pid} on ${owner.host}`);
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  // Another process may have replaced the stale lock by its own in between: that one goes back.
  if (readText(aside) !== text) tryLink(aside, path);
  rmSync(aside, { force: true });
}

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { SinkError } from '../core/errors.js';

/** Writes to disk that survive a crash: whole or not at all, and flushed before they return. */

function closed<T>(path: string, flags: string, use: (fd: number) => T): T {
  const fd = openSync(path, flags);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** A rename is only durable once the folder that holds the name is flushed. */
function flushFolder(folder: string): void {
  closed(folder, 'r', fsyncSync);
}

function sinkError(path: string, cause: unknown): SinkError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SinkError(`Expected to write ${path}, got ${why}`, {
    hint: 'Free some space or check the permissions; everything written before is still there.',
    cause,
  });
}

/**
 * Replaces a file so that a reader finds either all of the old content or all of the new.
 *
 * @throws SinkError with the path; the old content is then untouched
 */
export function replaceFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  try {
    closed(temporary, 'w', (fd) => {
      writeFileSync(fd, text);
      fsyncSync(fd);
    });
    renameSync(temporary, path);
    flushFolder(dirname(path));
  } catch (cause) {
    // force: the temporary file may not exist. A folder of that name is not ours and stays.
    removeIfFile(temporary);
    throw sinkError(path, cause);
  }
}

/**
 * Makes a folder where there is none; its parent exists.
 *
 * @throws SinkError with the path
 */
export function makeFolder(path: string): void {
  try {
    // Not recursive: that never returns where the file system refuses new folders as /proc does.
    if (!existsSync(path)) mkdirSync(path);
  } catch (cause) {
    throw sinkError(path, cause);
  }
}

function removeIfFile(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The write has already failed, and that is what the caller must hear about; a leftover is only untidy.
  }
}

/**
 * Appends one line and flushes it. When that fails half-way, what was written of it is cut off again.
 *
 * @param line without line break
 * @throws SinkError with the path
 */
export function appendLine(path: string, line: string): void {
  try {
    closed(path, 'a', (fd) => {
      const before = fstatSync(fd).size;
      try {
        writeFileSync(fd, `${line}\n`);
        fsyncSync(fd);
      } catch (cause) {
        cutTo(fd, before);
        throw cause;
      }
    });
  } catch (cause) {
    throw sinkError(path, cause);
  }
}

function cutTo(fd: number, bytes: number): void {
  try {
    ftruncateSync(fd, bytes);
  } catch {
    // The reader tolerates a truncated last line; the failed write is the error that counts.
  }
}

/**
 * Cuts a file to its first bytes.
 *
 * @throws SinkError with the path
 */
export function cutFile(path: string, bytes: number): void {
  try {
    closed(path, 'r+', (fd) => {
      ftruncateSync(fd, bytes);
      fsyncSync(fd);
    });
  } catch (cause) {
    throw sinkError(path, cause);
  }
}

/**
 * Proves that a folder takes new files with content, by really creating one.
 *
 * @throws what the file system says
 */
export function probeWritable(folder: string): void {
  // A name of its own: two sweeps that find a folder empty at the same time must not take each other for a full disk.
  const probe = join(folder, `.write-test-${process.pid}`);
  try {
    closed(probe, 'wx', (fd) => {
      // More than fits into metadata, so that a full disk is seen too.
      writeFileSync(fd, Buffer.alloc(64 * 1024));
      fsyncSync(fd);
    });
  } finally {
    removeIfFile(probe);
  }
}

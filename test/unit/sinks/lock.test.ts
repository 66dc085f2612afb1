import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/core/errors.js';
import { FolderLock } from '../../../src/sinks/lock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'polar-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const path = (): string => join(folder, '.lock');
const take = (): FolderLock => FolderLock.take(folder, 'results/x');
const write = (owner: unknown): void =>
  writeFileSync(path(), typeof owner === 'string' ? owner : JSON.stringify(owner));

/** Above the largest process id that Linux gives out. */
const NOBODY = 2 ** 22 + 1;

describe('FolderLock', () => {
  it('keeps a second one out until it is released, and leaves nothing behind', () => {
    const lock = take();
    expect(take).toThrow(UsageError);
    expect(take).toThrow(`results/x, got one in use by process ${process.pid} on ${hostname()}`);
    expect(readdirSync(folder)).toEqual(['.lock']);
    lock.release();
    expect(readdirSync(folder)).toEqual([]);
    take().release();
  });

  it.each([
    ['a process that is gone', { pid: NOBODY, host: hostname(), startTicks: '5' }],
    ['a process id that somebody else has now', { pid: process.pid, host: hostname(), startTicks: '1' }],
    ['no lock of ours', 'what is this'],
    ['an empty file', ''],
  ])('takes over from %s', (_, owner) => {
    write(owner);
    const lock = take();
    expect(take).toThrow(UsageError);
    lock.release();
    expect(existsSync(path())).toBe(false);
  });

  it.each([
    ['another machine, which cannot be asked', { pid: NOBODY, host: 'elsewhere', startTicks: '5' }],
    ['a running process without start time', { pid: 1, host: hostname(), startTicks: null }],
  ])('respects a lock of %s', (_, owner) => {
    write(owner);
    expect(take).toThrow(UsageError);
    expect(readdirSync(folder)).toEqual(['.lock']);
  });

  it('does not remove a lock that somebody took over', () => {
    const lock = take();
    write({ pid: 1, host: 'elsewhere', startTicks: null });
    lock.release();
    expect(existsSync(path())).toBe(true);
  });
});

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import {
  BackendUnavailableError,
  NativeError,
  type NativeErrorCode,
  type PolarBenchError,
} from '../../core/errors.js';
import type { Progress } from '../backend.js';
import type { ChildCall, ChildMessage, ChildRequest, ChildValue } from './protocol.js';

/** Without a sign of life for this long a call counts as hung. Filling gigabytes reports at least once a second. */
const HANG_MS = 60_000;
const STDERR_KEPT = 2_000;

interface PendingCall {
  readonly id: number;
  readonly resolve: (value: ChildValue) => void;
  readonly reject: (error: PolarBenchError) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
  /** Milliseconds without a sign of life that are one too many */
  readonly limitMs: number;
  lastSign: number;
}

export interface ChildOptions {
  /** Milliseconds without a sign of life after which a cell is E_HUNG; other calls have the default at least. */
  readonly hangMs?: number;
  /** Added to this process's own; undefined takes a variable away. */
  readonly env?: NodeJS.ProcessEnv;
  /** child.js of another build of polar-bench; its own addon is loaded. Default: this build's */
  readonly module?: string;
}

function nativeError(code: string, message: string): PolarBenchError {
  if (code === 'E_BACKEND_UNAVAILABLE') {
    return new BackendUnavailableError(message, { hint: 'Run `polar-bench doctor` to see what is missing' });
  }
  return new NativeError(code as NativeErrorCode, message);
}

function endedBy(signal: NodeJS.Signals): string {
  return signal === 'SIGKILL' ? 'SIGKILL, as the system does when memory runs out' : signal;
}

/**
 * The measuring child process: started on the first call and again after it died. One call at a time; a call that
 * ends with the death of the child rejects with E_CRASHED, one without signs of life with E_HUNG (the child is killed).
 */
export class MeasuringProcess {
  private child: ChildProcess | null = null;
  private pending: PendingCall | null = null;
  private watchdog: NodeJS.Timeout | null = null;
  private stderr = '';
  private nextId = 1;

  constructor(private readonly options: ChildOptions = {}) {}

  call(call: ChildRequest, onProgress?: (progress: Progress) => void): Promise<ChildValue> {
    if (this.pending !== null) {
      return Promise.reject(
        new NativeError('E_NATIVE', 'Expected one call at a time, got another while one runs'),
      );
    }
    const child = this.child ?? this.start();
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending = {
        id,
        resolve,
        reject,
        onProgress,
        limitMs: this.limitFor(call),
        lastSign: performance.now(),
      };
      this.watchdog = setInterval(() => this.checkHang(), 250);
      const message: ChildCall = { id, call };
      child.send(message, (error) => {
        // The exit may have been noticed first: then the call is settled, and another one may be under way.
        if (error !== null && this.pending?.id === id)
          this.fail(new NativeError('E_CRASHED', `The measuring process is gone: ${error.message}`));
      });
    });
  }

  /** Kills the child; a call under way rejects with E_CRASHED. */
  async close(): Promise<void> {
    const child = this.child;
    if (child === null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  private start(): ChildProcess {
    const module = this.options.module ?? fileURLToPath(new URL('./child.js', import.meta.url));
    const child = fork(module, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...this.options.env },
    });
    this.child = child;
    this.stderr = '';
    child.stderr?.on('data', (data: Buffer) => {
      this.stderr = (this.stderr + data.toString('utf8')).slice(-STDERR_KEPT);
    });
    // A child that was given up may still speak, or die, while its successor works: none of that is the successor's.
    child.on('message', (message: ChildMessage) => {
      if (this.child === child) this.receive(message);
    });
    child.on('error', (error) => {
      if (this.child === child)
        this.fail(new NativeError('E_CRASHED', `The measuring process failed: ${error.message}`));
    });
    child.on('exit', (code, signal) => {
      if (this.child !== child) return;
      this.child = null;
      const how = signal === null ? `ended with code ${code}` : `was ended by ${endedBy(signal)}`;
      const said =
        this.stderr.trim() === '' ? '' : `; it said: ${this.stderr.trim().split('\n').at(-1) ?? ''}`;
      this.fail(new NativeError('E_CRASHED', `The measuring process ${how}${said}`));
    });
    return child;
  }

  private receive(message: ChildMessage): void {
    const pending = this.pending;
    if (pending === null) return;
    pending.lastSign = performance.now();
    if (message.type === 'progress') {
      pending.onProgress?.({ phase: message.phase, fraction: message.fraction });
      return;
    }
    if (message.id !== pending.id) return;
    this.settle();
    if (message.type === 'value') pending.resolve(message.value);
    else pending.reject(nativeError(message.code, message.message));
  }

  private checkHang(): void {
    if (this.pending === null || performance.now() - this.pending.lastSign < this.pending.limitMs) return;
    const seconds = this.pending.limitMs / 1000;
    this.fail(new NativeError('E_HUNG', `The measuring process gave no sign of life for ${seconds} s`));
    this.child?.kill('SIGKILL');
    this.child = null;
  }

  /** Only cells report progress; what else there is takes seconds at most and tells nothing on the way. */
  private limitFor(call: ChildRequest): number {
    const wanted = this.options.hangMs ?? HANG_MS;
    return call.type === 'cell' ? wanted : Math.max(wanted, HANG_MS);
  }

  private settle(): void {
    this.pending = null;
    if (this.watchdog !== null) clearInterval(this.watchdog);
    this.watchdog = null;
  }

  private fail(error: PolarBenchError): void {
    const pending = this.pending;
    if (pending === null) return;
    this.settle();
    pending.reject(error);
  }
}

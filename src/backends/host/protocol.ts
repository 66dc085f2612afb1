import type {
  NativeCeilingRequest,
  NativeCellRequest,
  NativeCellResult,
  NativeFacts,
} from '../native/addon.js';

/** Raised when messages change: `ab` drives measuring processes of other builds. */
export const PROTOCOL_VERSION = 1;

/** What the CLI asks of its measuring child process. One call at a time. */
export type ChildRequest =
  | { readonly type: 'protocol' }
  | { readonly type: 'describe'; readonly backend: string; readonly device: number }
  | { readonly type: 'kernels'; readonly backend: string }
  | { readonly type: 'ceilings'; readonly request: NativeCeilingRequest }
  | { readonly type: 'cell'; readonly request: NativeCellRequest };

export interface ChildCall {
  readonly id: number;
  readonly call: ChildRequest;
}

export type ChildValue = NativeFacts | NativeCellResult | readonly string[] | number;

/** What the child sends: an answer to a call, or a sign of life of the one under way. */
export type ChildMessage =
  | { readonly type: 'value'; readonly id: number; readonly value: ChildValue }
  | { readonly type: 'error'; readonly id: number; readonly code: string; readonly message: string }
  | { readonly type: 'progress'; readonly phase: string; readonly fraction: number | null };

/** How often the child looks whether native code made progress, in milliseconds. */
export const PROGRESS_INTERVAL_MS = 100;

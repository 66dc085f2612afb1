/**
 * The measuring child process: loads the addon, answers calls over IPC. Whatever happens to it (a segmentation fault, a
 * lost device) costs the call under way, never the CLI.
 */
import { type Addon, loadAddon } from '../native/addon.js';
import {
  type ChildCall,
  type ChildMessage,
  type ChildRequest,
  type ChildValue,
  PROGRESS_INTERVAL_MS,
  PROTOCOL_VERSION,
} from './protocol.js';

// Ctrl-C reaches the whole process group; the parent decides what ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
// A parent that is gone takes its child along.
process.on('disconnect', () => process.exit(0));

let addon: Addon | null = null;

function send(message: ChildMessage): void {
  process.send?.(message);
}

async function answer(call: ChildRequest): Promise<ChildValue> {
  if (call.type === 'protocol') return PROTOCOL_VERSION;
  addon ??= loadAddon();
  switch (call.type) {
    case 'describe':
      return addon.describe(call.backend, call.device);
    case 'kernels':
      return addon.listKernels(call.backend);
    case 'ceilings':
      return addon.measureCeilings(call.request);
    case 'cell':
      return addon.measureCell(call.request);
  }
}

/** Passes progress on only when native code gave a sign of life since the last look: a hang must look like one. */
function watchProgress(): NodeJS.Timeout {
  let beats = -1;
  return setInterval(() => {
    const now = addon?.progress();
    if (now === undefined || now.beats === beats) return;
    beats = now.beats;
    send({
      type: 'progress',
      phase: now.phase,
      fraction: Number.isFinite(now.fraction) ? now.fraction : null,
    });
  }, PROGRESS_INTERVAL_MS);
}

function describeError(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: 'E_NATIVE', message: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'E_NATIVE';
  return { code: code.startsWith('E_') ? code : 'E_BACKEND_UNAVAILABLE', message: error.message };
}

process.on('message', (message: ChildCall) => {
  const timer = watchProgress();
  answer(message.call)
    .then((value) => send({ type: 'value', id: message.id, value }))
    .catch((error: unknown) => send({ type: 'error', id: message.id, ...describeError(error) }))
    .finally(() => clearInterval(timer));
});

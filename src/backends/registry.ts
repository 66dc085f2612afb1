import type { BackendName } from '../core/cell.js';
import type { Backend } from './backend.js';
import { ChildBackend } from './host/child-backend.js';
import type { ChildOptions } from './host/child-process.js';

/** Order in which `--backend auto` tries them. */
export const AUTO_ORDER: readonly BackendName[] = ['cuda', 'cpu'];

export function openBackend(name: BackendName, device: number, options: ChildOptions = {}): Backend {
  return new ChildBackend(name, device, options);
}

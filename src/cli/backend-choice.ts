import type { Backend } from '../backends/backend.js';
import { AUTO_ORDER, openBackend } from '../backends/registry.js';
import type { BackendName } from '../core/cell.js';
import type { DeviceFacts } from '../core/environment.js';
import { BackendUnavailableError, InternalError, PolarBenchError } from '../core/errors.js';

export interface ChosenBackend {
  readonly backend: Backend;
  readonly facts: DeviceFacts;
  /** What was tried before it and why it was not taken; empty where it was named. */
  readonly passedOver: readonly string[];
}

/**
 * Opens the backend that was asked for. `auto` takes CUDA when a usable device is there, else the CPU, and says why;
 * a backend that was named is never replaced.
 * @param hangSeconds without a sign of life for this long a cell is E_HUNG
 * @throws BackendUnavailableError what was tried and why it failed
 */
export async function chooseBackend(
  wanted: BackendName | 'auto',
  device: number,
  hangSeconds?: number,
): Promise<ChosenBackend> {
  const options = hangSeconds === undefined ? {} : { hangMs: 1000 * hangSeconds };
  const candidates = wanted === 'auto' ? AUTO_ORDER : [wanted];
  const passedOver: string[] = [];
  for (const name of candidates) {
    const backend = openBackend(name, name === 'cpu' && wanted === 'auto' ? 0 : device, options);
    try {
      return { backend, facts: await backend.describe(), passedOver };
    } catch (error) {
      await backend.close();
      // A bug is no reason to try the next backend.
      if (!(error instanceof PolarBenchError) || error instanceof InternalError) throw error;
      passedOver.push(`${name}: ${error.message}`);
    }
  }
  throw new BackendUnavailableError(`Expected a usable backend, got none (${passedOver.join('; ')})`, {
    hint: 'Run `polar-bench doctor`; `--backend cpu` works on every machine.',
  });
}

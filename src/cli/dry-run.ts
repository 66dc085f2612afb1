import type { DeviceFacts } from '../core/environment.js';
import type { SweepPlan } from '../core/plan.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { type CellMemory, memoryOf } from '../theory/memory.js';
import { plainTable } from './plain-table.js';
import { duration, gigabytes, type Terminal } from './terminal.js';

/** Filling, verifying and warming up take about as long as half the sampling. */
const OVERHEAD = 1.5;

/** "3" copies of a cell; "48 layers" of a step, whose layers cycle where not all of them fit. */
function copiesOf(memory: CellMemory): string {
  return memory.residentLayers === null ? String(memory.rotationCopies) : `${memory.residentLayers} layers`;
}

/** Prints what a sweep would do: cells, candidates, memory, and an upper estimate of its time. Measures nothing. */
export async function printPlan(plan: SweepPlan, facts: DeviceFacts, terminal: Terminal): Promise<void> {
  const rows = plan.cells.map((cell) => {
    const memory = memoryOf(cell, {
      mode: cell.cacheMode,
      lastLevelCacheBytes: facts.lastLevelCacheBytes,
      freeMemoryBytes: facts.freeMemoryBytes,
    });
    const fits = memory.requiredBytes <= facts.freeMemoryBytes;
    return [
      sanitizeForTerminal(cell.model.name),
      cell.scope,
      String(cell.batchSize),
      cell.kvLen === null ? '-' : String(cell.kvLen),
      String(cell.candidates.length),
      `${gigabytes(memory.requiredBytes)}${fits ? '' : ' (will be skipped)'}`,
      `${gigabytes(memory.rotationBytes)} in ${copiesOf(memory)}`,
    ];
  });
  const seconds = plan.cells.length * plan.sampling.maxTimeS * OVERHEAD;
  const head = ['model', 'scope', 'B', 'N', 'kernels', 'memory', 'with rotation'];
  terminal.stdout.write(await plainTable(head, rows));
  terminal.stdout.write(
    `${plan.cells.length} cells on ${sanitizeForTerminal(facts.name)} (${facts.backend}), at most about ${duration(seconds)}; nothing was measured\n`,
  );
}

import { openBackend } from '../backends/registry.js';
import { BACKENDS, type BackendName, DTYPES } from '../core/cell.js';
import type { Ceilings, DeviceFacts } from '../core/environment.js';
import { EXIT, PolarBenchError } from '../core/errors.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { jsonDocument } from '../sinks/json.js';
import { oneOf } from './flags.js';
import { plainTable } from './plain-table.js';
import { gigabytes, type Terminal, warn } from './terminal.js';

interface DeviceReport {
  readonly backend: BackendName;
  readonly facts: DeviceFacts | null;
  readonly ceilings: Ceilings | null;
  readonly error: string | null;
}

async function inspect(name: BackendName, dtype: (typeof DTYPES)[number]): Promise<DeviceReport> {
  const backend = openBackend(name, 0);
  let facts: DeviceFacts | null = null;
  try {
    facts = await backend.describe();
    return { backend: name, facts, ceilings: await backend.measureCeilings(dtype, 0), error: null };
  } catch (error) {
    if (!(error instanceof PolarBenchError)) throw error;
    return { backend: name, facts, ceilings: null, error: error.message };
  } finally {
    await backend.close();
  }
}

/** `polar-bench devices`: what there is, and how fast its memory and arithmetic really are. */
export async function devices(
  options: Readonly<Record<string, string>>,
  terminal: Terminal,
): Promise<number> {
  const format = oneOf('format', ['table', 'json'] as const, options['format'] ?? 'table');
  const dtype = oneOf('dtype', DTYPES, options['dtype'] ?? 'bf16');
  const reports: DeviceReport[] = [];
  for (const name of BACKENDS) reports.push(await inspect(name, dtype));
  if (format === 'json') {
    const list = reports.map((r) => ({
      backend: r.backend,
      available: r.error === null,
      error: r.error,
      device: r.facts?.details ?? null,
      ceilings: r.ceilings?.details ?? null,
    }));
    terminal.stdout.write(jsonDocument({ schema_version: 1, devices: list }));
    return EXIT.ok;
  }
  const rows: string[][] = [];
  for (const { backend, facts, ceilings, error } of reports) {
    if (facts === null || ceilings === null) {
      warn(terminal, `${backend} is not available: ${error}`);
      continue;
    }
    rows.push([
      backend,
      sanitizeForTerminal(facts.name),
      gigabytes(facts.totalMemoryBytes),
      gigabytes(facts.lastLevelCacheBytes),
      `${ceilings.readGbPerS.toFixed(1)} GB/s`,
      `${ceilings.matrixTflopPerS.toPrecision(3)} TFLOP/s`,
    ]);
  }
  const head = ['backend', 'device', 'memory', 'cache', 'read ceiling', `${dtype} ceiling`];
  terminal.stdout.write(await plainTable(head, rows));
  return EXIT.ok;
}

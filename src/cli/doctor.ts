import { existsSync } from 'node:fs';
import os from 'node:os';

import { addonPath } from '../backends/native/addon.js';
import { openBackend } from '../backends/registry.js';
import { BACKENDS } from '../core/cell.js';
import { EXIT, PolarBenchError } from '../core/errors.js';
import { sanitizeForTerminal } from '../report/sanitize.js';
import { gigabytes, type Terminal } from './terminal.js';
import { packageVersion } from './version.js';

interface Finding {
  readonly ok: boolean;
  readonly what: string;
  readonly detail: string;
}

function addonFinding(): Finding {
  const path = addonPath();
  return existsSync(path)
    ? { ok: true, what: 'native addon', detail: 'built' }
    : {
        ok: false,
        what: 'native addon',
        detail: 'not built: run `npm ci` (needs a C++20 compiler and CMake)',
      };
}

async function backendFinding(name: (typeof BACKENDS)[number]): Promise<Finding> {
  const backend = openBackend(name, 0);
  try {
    const facts = await backend.describe();
    const isa = facts.details['isa'];
    const extra = typeof isa === 'string' ? `, ${isa}` : '';
    const driver = facts.driverVersion === null ? '' : `, driver ${facts.driverVersion}`;
    return {
      ok: true,
      what: `backend ${name}`,
      detail: `${facts.name}${extra}${driver}, ${gigabytes(facts.freeMemoryBytes)} free`,
    };
  } catch (error) {
    if (!(error instanceof PolarBenchError)) throw error;
    return { ok: false, what: `backend ${name}`, detail: error.message };
  } finally {
    await backend.close();
  }
}

function loadFinding(): Finding {
  const load = os.loadavg()[0] ?? 0;
  const cores = os.availableParallelism();
  const busy = load > cores / 2;
  return {
    ok: !busy,
    what: 'quiet machine',
    detail: busy
      ? `load average ${load.toFixed(1)} on ${cores} cores: other work will show up as noise`
      : `load average ${load.toFixed(1)} on ${cores} cores`,
  };
}

/** `polar-bench doctor`: exit 0 when something can be measured, 3 when no backend works. */
export async function doctor(terminal: Terminal): Promise<number> {
  const findings: Finding[] = [
    {
      ok: true,
      what: 'polar-bench',
      detail: `${packageVersion()}, Node ${process.version}, ${process.arch}`,
    },
    addonFinding(),
  ];
  const backends: Finding[] = [];
  for (const name of BACKENDS) backends.push(await backendFinding(name));
  for (const f of [...findings, ...backends, loadFinding()]) {
    const line = `${f.ok ? 'ok  ' : 'no  '} ${f.what}: ${f.detail}`;
    terminal.stdout.write(`${sanitizeForTerminal(line)}\n`);
  }
  return backends.some((f) => f.ok) ? EXIT.ok : EXIT.backendUnavailable;
}

import { cpSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

import { FAULT_ADDON } from './cli.js';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * A folder as `ab` takes it, of this very code with the test build's addon.
 *
 * @param fault POLAR_BENCH_FAULT of this build alone, e.g. `delay:attention/dense:0.05`; null: as it is
 * @param protocol what its measuring process says its protocol is; null: the truth
 */
export function buildFolder(
  folder: string,
  fault: string | null = null,
  protocol: number | null = null,
): string {
  // A copy, not a link: the measuring process finds its addon by the place of its own file.
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, 'build'));
  symlinkSync(dirname(FAULT_ADDON), join(folder, 'build/Release'));
  const host = join(folder, 'dist/backends/host');
  if (fault !== null) {
    renameSync(join(host, 'child.js'), join(host, 'child-itself.js'));
    const plant = `process.env.POLAR_BENCH_FAULT = ${JSON.stringify(fault)};`;
    writeFileSync(join(host, 'child.js'), `${plant}\nawait import('./child-itself.js');\n`);
  }
  if (protocol !== null) {
    const says = `process.on('message', ({ id }) => process.send({ type: 'value', id, value: ${protocol} }));`;
    writeFileSync(join(host, 'child.js'), `${says}\nprocess.on('disconnect', () => process.exit());\n`);
  }
  return folder;
}

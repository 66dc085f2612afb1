import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ChildBackend } from '../../src/backends/host/child-backend.js';
import { ABI_VERSION } from '../../src/backends/native/addon.js';
import { CATALOG } from '../../src/core/catalog.js';
import type { BackendName } from '../../src/core/cell.js';
import { candidate, cell, selectiveHead } from '../support/cells.js';
import { FAULT_ADDON, temporaryFolder } from '../support/cli.js';

const ROOT = resolve(import.meta.dirname, '../..');
const BUILT = join(ROOT, 'build/Release');
const TEST_BUILD = dirname(FAULT_ADDON);

let open: ChildBackend | null = null;
afterEach(() => open?.close());

/** A backend of the built program: its measuring process is dist/'s, its addon the given file. */
function backend(name: BackendName, addon: string): ChildBackend {
  open = new ChildBackend(name, 0, {
    module: join(ROOT, 'dist/backends/host/child.js'),
    env: { POLAR_BENCH_ADDON: addon, POLAR_BENCH_FAULT: undefined },
  });
  return open;
}

/** The addon alone in a folder, where `place` may put a libpolar_cuda.so beside it. */
function addonBeside(place: (library: string) => void): string {
  const folder = temporaryFolder();
  const addon = join(folder, 'polar_bench.node');
  copyFileSync(join(BUILT, 'polar_bench.node'), addon);
  place(join(folder, 'libpolar_cuda.so'));
  return addon;
}

const testLibrary = (name: string) => (library: string) => copyFileSync(join(TEST_BUILD, name), library);

describe.each(['cpu', 'cuda'] as const)('the kernels of the backend %s', (name) => {
  it('are those of the catalog', async (context) => {
    const library = `libpolar_${name}.so`;
    if (name === 'cuda' && !existsSync(join(BUILT, library))) {
      context.skip(`${library} is not built: no CUDA compiler was found`);
    }
    const expected = CATALOG.filter((kernel) => kernel.backends.includes(name)).map((kernel) => kernel.id);
    const listed = await backend(name, join(BUILT, 'polar_bench.node')).listKernels();
    expect(listed.toSorted()).toEqual(expected.toSorted());
  });
});

describe('a backend that cannot be used says why', () => {
  it('without a driver', async (context) => {
    if (!existsSync(join(BUILT, 'libpolar_cuda.so'))) {
      context.skip('libpolar_cuda.so is not built: no CUDA compiler was found');
    }
    if (existsSync('/dev/nvidiactl')) context.skip('a driver is loaded here');
    const cuda = backend('cuda', join(BUILT, 'polar_bench.node'));
    await expect(cuda.describe()).rejects.toMatchObject({
      code: 'E_BACKEND_UNAVAILABLE',
      message: expect.stringMatching(/NVIDIA driver|the driver works but lists no device/),
      exitCode: 3,
      hint: expect.stringContaining('polar-bench doctor'),
    });
  });

  it.each<[string, (library: string) => void, RegExp]>([
    ['a missing library', () => {}, /^The library libpolar_cuda\.so is not part of this build$/],
    [
      'a file that is no library',
      (library) => writeFileSync(library, 'no library'),
      /^The library libpolar_cuda\.so could not be opened: .*(file too short|invalid ELF header)/,
    ],
    [
      'a library of something else',
      (library) => copyFileSync(join(BUILT, 'polar_bench.node'), library),
      /^The library libpolar_cuda\.so exports no polar_backend_api$/,
    ],
    [
      'another ABI version',
      testLibrary('libpolar_next_abi.so'),
      new RegExp(
        `^The library libpolar_cuda\\.so has ABI version ${ABI_VERSION + 1}, the addon needs ${ABI_VERSION}: rebuild both$`,
      ),
    ],
  ])('for %s', async (_what, place, message) => {
    const cuda = backend('cuda', addonBeside(place));
    const refused = { code: 'E_BACKEND_UNAVAILABLE', message: expect.stringMatching(message), exitCode: 3 };
    await expect(cuda.describe()).rejects.toMatchObject(refused);
    await expect(cuda.listKernels()).rejects.toMatchObject(refused);
  });

  it('and a missing library leaves the other backend alone', async () => {
    const addon = addonBeside((library) =>
      copyFileSync(join(BUILT, 'libpolar_cpu.so'), library.replace('cuda', 'cpu')),
    );
    expect(await backend('cpu', addon).listKernels()).toContain('attention/dense');
  });
});

/** Across the C boundary, with a library that loses its device on purpose. */
describe('an error of the device', () => {
  const sampling = { minSamples: 6, maxSamples: 6, maxNoise: 0.02, maxTimeS: 4, warmup: 1, minSampleUs: 1 };
  const measure = (cuda: ChildBackend, second: ReturnType<typeof candidate>) =>
    cuda.measure({
      cell: cell({ backend: 'cuda', candidates: [candidate(), second] }),
      sampling,
      threads: 0,
      breakdown: false,
    });
  const cellsOfProcess = async (cuda: ChildBackend) => (await cuda.describe()).details['cells'];

  it('that passes costs its candidate, and the process stays', async () => {
    const cuda = backend('cuda', addonBeside(testLibrary('libpolar_fake.so')));
    const outcome = await measure(cuda, candidate({ kernel: 'attention/dense-per-query-head' }));
    expect(outcome.candidates.map((c) => c.status)).toEqual(['ok', 'failed']);
    expect(outcome.candidates[1]).toMatchObject({ code: 'E_CUDA', reason: 'invalid configuration argument' });
    expect(await cellsOfProcess(cuda)).toBe(1);
  });

  it('that loses the device costs the cell, and the next one gets a fresh process', async () => {
    const cuda = backend('cuda', addonBeside(testLibrary('libpolar_fake.so')));
    const lost = { status: 'failed', code: 'E_CUDA', reason: 'an illegal memory access was encountered' };
    const outcome = await measure(cuda, selectiveHead(4));
    expect(outcome.candidates).toMatchObject([lost, lost]);
    expect(await cellsOfProcess(cuda)).toBe(0);
  });
});

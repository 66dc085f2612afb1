import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { ChildBackend } from '../../../../src/backends/host/child-backend.js';
import { cell } from '../../../support/cells.js';

const folder = mkdtempSync(join(tmpdir(), 'polar-backend-'));
afterAll(() => rmSync(folder, { recursive: true }));

let running: ChildBackend | null = null;
afterEach(() => running?.close());

/** A backend whose process rejects every measurement with `code`; its kernel list is the calls it has answered. */
function failing(code: string): ChildBackend {
  const module = join(folder, `${code}.cjs`);
  writeFileSync(
    module,
    `let calls = 0;
     process.on('disconnect', () => process.exit());
     process.on('message', ({ id, call }) => {
       calls += 1;
       process.send(call.type === 'kernels'
         ? { type: 'value', id, value: [String(calls)] }
         : { type: 'error', id, code: ${JSON.stringify(code)}, message: 'it failed' });
     });`,
  );
  running = new ChildBackend('cuda', 0, { module });
  return running;
}

const sampling = { minSamples: 10, maxSamples: 40, maxNoise: 0.02, maxTimeS: 4, warmup: 1, minSampleUs: 200 };
const FRESH = ['1'];
const THE_SAME = ['2'];

describe('ChildBackend', () => {
  it.each([
    ['E_CUDA', FRESH],
    ['E_CUBLAS', FRESH],
    ['E_OUT_OF_MEMORY', THE_SAME],
    ['E_UNSUPPORTED', THE_SAME],
    ['E_NATIVE', THE_SAME],
  ])(
    'fails all candidates of a cell rejected with %s; answers of its process then: %j',
    async (code, calls) => {
      const backend = failing(code);
      const outcome = await backend.measure({ cell: cell(), sampling, threads: 0, breakdown: false });
      expect(outcome.stop).toBe('not-timed');
      expect(outcome.candidates).toEqual([
        { status: 'failed', code, reason: 'it failed', warnings: [] },
        { status: 'failed', code, reason: 'it failed', warnings: [] },
      ]);
      expect(await backend.listKernels()).toEqual(calls);
    },
  );

  it.each([
    ['E_CUDA', FRESH],
    ['E_OUT_OF_MEMORY', THE_SAME],
  ])('passes on that ceilings failed with %s; answers of its process then: %j', async (code, calls) => {
    const backend = failing(code);
    await expect(backend.measureCeilings('bf16', 0)).rejects.toMatchObject({ code, message: 'it failed' });
    expect(await backend.listKernels()).toEqual(calls);
  });

  it('ends everything where the backend itself is not available', async () => {
    const backend = failing('E_BACKEND_UNAVAILABLE');
    await expect(
      backend.measure({ cell: cell(), sampling, threads: 0, breakdown: false }),
    ).rejects.toMatchObject({
      code: 'E_BACKEND_UNAVAILABLE',
      exitCode: 3,
    });
  });
});

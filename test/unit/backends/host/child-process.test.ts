import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { MeasuringProcess } from '../../../../src/backends/host/child-process.js';
import type { NativeError } from '../../../../src/core/errors.js';
import type { ChildRequest } from '../../../../src/backends/host/protocol.js';

const folder = mkdtempSync(join(tmpdir(), 'polar-child-'));
afterAll(() => rmSync(folder, { recursive: true }));

let running: MeasuringProcess | null = null;
afterEach(() => running?.close());

/** A measuring process whose answer to a call is the given code: `id` of the call, `reply(value)`, `send(message)`. */
function child(name: string, code: string, hangMs = 400): MeasuringProcess {
  const module = join(folder, `${name}.cjs`);
  writeFileSync(
    module,
    `let calls = 0;
     process.on('disconnect', () => process.exit());
     const send = (message) => process.send(message);
     process.on('message', ({ id, call }) => {
       calls += 1;
       const reply = (value) => send({ type: 'value', id, value });
       ${code}
     });`,
  );
  running = new MeasuringProcess({ module, hangMs });
  return running;
}

// Only the type decides how long a call may be silent; the fakes look at nothing else.
const CELL = { type: 'cell', request: {} } as ChildRequest;
const KERNELS: ChildRequest = { type: 'kernels', backend: 'cpu' };

describe('MeasuringProcess', () => {
  it('answers calls one after the other from one process', async () => {
    const process = child('counts', 'reply(calls)');
    expect(await process.call(CELL)).toBe(1);
    expect(await process.call(CELL)).toBe(2);
  });

  it('refuses a second call while one runs', async () => {
    const process = child('slow', 'setTimeout(() => reply(1), 100)');
    const first = process.call(CELL);
    await expect(process.call(CELL)).rejects.toMatchObject({ code: 'E_NATIVE' });
    expect(await first).toBe(1);
  });

  it.each([
    ['a segmentation fault', `process.kill(process.pid, 'SIGSEGV')`, /was ended by SIGSEGV/],
    ['a kill', `process.kill(process.pid, 'SIGKILL')`, /SIGKILL, as the system does when memory runs out/],
    ['an exit', `process.exit(7)`, /ended with code 7/],
    ['last words', `process.stderr.write('lost\\n', () => process.exit(1))`, /code 1; it said: lost/],
  ])('survives %s and starts again', async (name, code, says) => {
    const marker = join(folder, `${name}.once`);
    const once = `if (!require('fs').existsSync(${JSON.stringify(marker)})) {
      require('fs').writeFileSync(${JSON.stringify(marker)}, ''); ${code}; return; } reply('again')`;
    const process = child(name.replaceAll(' ', '-'), once);
    await expect(process.call(CELL)).rejects.toMatchObject({ code: 'E_CRASHED', message: says });
    expect(await process.call(CELL)).toBe('again');
  });

  it('loses one call at most to a process that dies between two, whichever end of it is noticed first', async () => {
    const dying = child('dies-idle', `process.send({ type: 'value', id, value: 1 }, () => process.exit())`);
    const ends: string[] = [];
    for (let i = 0; i < 12; i += 1) {
      ends.push(
        await dying.call(CELL).then(
          () => 'value',
          (error: unknown) => (error as NativeError).code,
        ),
      );
    }
    expect(ends.filter((end) => end !== 'value' && end !== 'E_CRASHED')).toEqual([]);
    expect(ends.join(' ')).not.toContain('E_CRASHED E_CRASHED');
    expect(ends[0]).toBe('value');
  });

  it('gives up a call without signs of life, and what the old process does later is not the new one’s', async () => {
    const marker = join(folder, 'hangs.once');
    const once = `if (!require('fs').existsSync(${JSON.stringify(marker)})) {
      require('fs').writeFileSync(${JSON.stringify(marker)}, ''); return; } setTimeout(() => reply('again'), 300)`;
    const process = child('hangs', once);
    await expect(process.call(CELL)).rejects.toMatchObject({ code: 'E_HUNG', message: /0\.4 s/ });
    // Begun while the killed process is still dying.
    expect(await process.call(CELL)).toBe('again');
  });

  it('waits as long as there is progress, and longer for calls that report none', async () => {
    const beats = `let n = 0; const timer = setInterval(() => {
      send({ type: 'progress', phase: 'p', fraction: n / 8 });
      if (++n === 8) { clearInterval(timer); reply('done'); } }, 100)`;
    const seen: (number | null)[] = [];
    expect(await child('beats', beats).call(CELL, (p) => seen.push(p.fraction))).toBe('done');
    expect(seen).toHaveLength(8);
    expect(await child('silent', `setTimeout(() => reply('late'), 900)`).call(KERNELS)).toBe('late');
  });

  it('ends what runs when it is closed', async () => {
    const process = child('closed', '', 60_000);
    const call = process.call(CELL);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const closed = process.close();
    await expect(call).rejects.toMatchObject({ code: 'E_CRASHED' });
    await closed;
  });
});

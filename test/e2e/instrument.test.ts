import { afterEach, describe, expect, test } from 'vitest';

import type { Backend } from '../../src/backends/backend.js';
import type { Candidate } from '../../src/core/cell.js';
import { medianInterval } from '../../src/stats/bootstrap.js';
import { pairedSpeedup, type RoundSamples } from '../../src/stats/paired.js';
import { candidate, cell, shape } from '../support/cells.js';
import { FAULT_ADDON } from '../support/cli.js';

// The built program's own backend class: the measuring process is a file of dist/.
const { ChildBackend } = (await import('../../dist/backends/host/child-backend.js' as string)) as {
  ChildBackend: new (name: 'cpu', device: number, options: { env: NodeJS.ProcessEnv }) => Backend;
};

const open: Backend[] = [];

function faultBackend(fault = ''): Backend {
  const backend = new ChildBackend('cpu', 0, {
    env: { POLAR_BENCH_ADDON: FAULT_ADDON, POLAR_BENCH_FAULT: fault },
  });
  open.push(backend);
  return backend;
}

afterEach(async () => {
  for (const backend of open.splice(0)) await backend.close();
});

/** Samples of each candidate by round; every candidate must be ok. */
async function samples(
  backend: Backend,
  candidates: readonly Candidate[],
  seed: number,
  maxTimeS: number,
): Promise<RoundSamples[]> {
  const outcome = await backend.measure({
    cell: cell({ model: shape(), batchSize: 1, kvLen: 512, cacheMode: 'hot', seed, candidates }),
    sampling: { minSamples: 10, maxSamples: 200, maxNoise: 0.002, maxTimeS, warmup: 2, minSampleUs: 200 },
    threads: 1,
    breakdown: false,
  });
  return outcome.candidates.map((c) => {
    if (c.status !== 'ok') throw new Error(`${c.status}: ${c.reason}`);
    return c.samplesNs;
  });
}

const DENSE = candidate();

describe('the instrument', () => {
  test(
    // A sound instrument gives 95 of 100, and 89 of 100 once in 35 runs; 300 cells leave that to chance in one of 10,000.
    'A/A: the interval of a kernel against itself contains 1 in at least 90 % of 300 cells',
    { timeout: 120_000 },
    async () => {
      const backend = faultBackend();
      let contains = 0;
      for (let seed = 1; seed <= 300; seed++) {
        const [a, b] = await samples(backend, [DENSE, DENSE], seed, 0.1);
        const speedup = pairedSpeedup(a ?? [], b ?? []);
        if (speedup !== null && speedup.ci.low <= 1 && speedup.ci.high >= 1) contains++;
      }
      expect(contains).toBeGreaterThanOrEqual(270);
    },
  );

  test('a planted slowdown of 3 % is found, with its size', { timeout: 60_000 }, async () => {
    const backend = faultBackend('delay:attention/dense#1:0.03');
    const [a, b] = await samples(backend, [DENSE, DENSE], 1, 3);
    const speedup = pairedSpeedup(a ?? [], b ?? []);
    expect(speedup?.ci.high).toBeLessThan(1);
    expect(1 / (speedup?.ratio ?? 0)).toBeGreaterThan(1.02);
    expect(1 / (speedup?.ratio ?? 0)).toBeLessThan(1.04);
  });

  test(
    'a busy-wait of known duration and noise: the interval covers the truth',
    { timeout: 60_000 },
    async () => {
      // 300 us times (1 + 0.005 z), z standard normal: the median is 300 us.
      const spin = candidate({ kernel: 'instrument/spin', activeNeurons: 300_000 });
      const [spins] = await samples(faultBackend(), [spin], 1, 1);
      const values = (spins ?? []).filter((v): v is number => v !== null);
      expect(values.length).toBeGreaterThanOrEqual(10);
      const interval = medianInterval(values, 1);
      // Starting and ending a run costs a fraction of a microsecond, which belongs to the truth.
      expect(interval.low).toBeLessThan(301_500);
      expect(interval.high).toBeGreaterThan(298_500);
      const spread = (interval.high - interval.low) / 300_000;
      expect(spread).toBeGreaterThan(0.0002);
      expect(spread).toBeLessThan(0.02);
    },
  );
});

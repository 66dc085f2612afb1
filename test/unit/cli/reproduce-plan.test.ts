import { describe, expect, test } from 'vitest';

import { isBlocked } from '../../../src/claims/schema.js';
import { allClaims, chosenClaims } from '../../../src/cli/claims-file.js';
import { planReproduce, type ReproduceSettings, rowFilter } from '../../../src/cli/reproduce-plan.js';
import { activeCount } from '../../../src/core/cell.js';
import { UsageError } from '../../../src/core/errors.js';
import { measuredRow } from '../claims/rows.js';

const settings = (over: Partial<ReproduceSettings> = {}): ReproduceSettings => ({
  scale: 'full',
  backend: 'cuda',
  device: 0,
  threads: null,
  maxTimeS: null,
  ...over,
});
const SETTINGS = (['cpu', 'cuda'] as const).flatMap((backend) =>
  (['full', 'small'] as const).map((scale) => settings({ backend, scale })),
);

describe.each(SETTINGS)('all claims on $backend at $scale scale', (s) => {
  const { claims, plan } = planReproduce(allClaims(), s);

  test('each problem is one cell, and every cell of a claim is among them', () => {
    const problems = plan.cells.map((c) => [c.model.name, c.scope, c.batchSize, c.kvLen].join(' '));
    expect(new Set(problems).size).toBe(problems.length);
    const planned = new Set(
      plan.cells.flatMap((c) => c.candidates.map((k) => [c.scope, c.batchSize, c.kvLen, k.kernel].join(' '))),
    );
    for (const cell of claims.flatMap((c) => c.cells)) {
      for (const { kernel } of cell.candidates) {
        expect(planned).toContain([cell.scope, cell.batchSize, cell.kvLen, kernel].join(' '));
      }
    }
  });

  test('every point of a claim that can be planned has exactly one candidate', () => {
    for (const { claim, cells, unavailable } of claims) {
      if (isBlocked(claim) || unavailable !== null) continue;
      const { quantity, axis } = claim;
      const kernel =
        quantity.kind === 'ratio'
          ? quantity.top.includes('/')
            ? quantity.top
            : `${quantity.top}/dense`
          : quantity.kernel;
      const candidates = cells.flatMap((cell) =>
        cell.candidates.filter((k) => k.kernel === kernel).map((k) => ({ cell, k })),
      );
      for (const x of claim.scales[s.scale].x) {
        const at = candidates.filter(({ cell, k }) => {
          if (axis === 'batch') return cell.batchSize === x;
          if (axis === 'kv_len') return cell.kvLen === x;
          const total = k.activeNeurons === null ? cell.model.numKvHeads : cell.model.intermediateSize;
          const group = cell.model.numQoHeads / cell.model.numKvHeads;
          return (k.activeNeurons ?? (k.activeHeads ?? 0) / group) === activeCount(x, total);
        });
        expect(at, `${claim.id} at ${x}`).toHaveLength(1);
      }
    }
  });
});

test('a claim whose scope has no kernel on the backend is unavailable for that reason', () => {
  const scopeless = allClaims().map((claim) =>
    isBlocked(claim) || claim.id !== 'fig4a'
      ? claim
      : {
          ...claim,
          scales: {
            ...claim.scales,
            full: { ...claim.scales.full, sweeps: [{ models: ['opt-66b'] as const, scopes: ['telepathy'] }] },
          },
        },
  );
  const { claims } = planReproduce(scopeless, settings());
  expect(claims.find((c) => c.claim.id === 'fig4a')?.unavailable).toBe(
    'backend cuda has no kernel of scope telepathy',
  );
});

test('small scale samples for less time; --max-time wins', () => {
  const maxTime = (over: Partial<ReproduceSettings>) =>
    planReproduce([], settings(over)).plan.sampling.maxTimeS;
  expect(maxTime({ scale: 'small' })).toBeLessThan(maxTime({}));
  expect(maxTime({ scale: 'small', maxTimeS: 0.25 })).toBe(0.25);
});

test('the rows of a claim are those of its own candidates', () => {
  const planned = planReproduce(chosenClaims(['fig10-attention']), settings()).claims[0];
  if (planned === undefined) throw new Error('nothing planned');
  const row = measuredRow('attention/selective-head', 1, { model: 'opt-66b', batch_size: 64, kv_len: 1920 });
  const belongs = rowFilter(planned);
  // 0.5 x 72; 0.3 x 72 = 21.6 is another claim's.
  expect(belongs({ ...row, active_heads: 36 })).toBe(true);
  expect(belongs({ ...row, active_heads: 21 })).toBe(false);
  expect(belongs({ ...row, active_heads: 36, batch_size: 32 })).toBe(false);
});

describe('names of claims', () => {
  test('a name stands for its sub-claims, in the order of the file', () => {
    expect(chosenClaims(['union-fades', 'fig4a']).map((c) => c.id)).toEqual([
      'fig4a',
      'fig4a-gather',
      'union-fades',
    ]);
    expect(chosenClaims([])).toHaveLength(allClaims().length);
  });

  test('fig1 is not fig10 or fig11', () => {
    expect(() => chosenClaims(['fig1'])).toThrow(UsageError);
    expect(chosenClaims(['fig10']).map((c) => c.id)).toEqual([
      'fig10-mlp',
      'fig10-attention',
      'fig10-routers',
    ]);
  });
});

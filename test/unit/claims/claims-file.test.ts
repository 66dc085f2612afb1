import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { isBlocked, type MeasuredClaim, parseClaims } from '../../../src/claims/schema.js';
import { ConfigError } from '../../../src/core/errors.js';

const file = (name: string): string =>
  readFileSync(resolve(import.meta.dirname, '../../../configs/paper', name), 'utf8');
const figures = file('figures.json');
const claims = parseClaims(file('claims.json'), figures, 'claims.json');
const measured = claims.filter((c): c is MeasuredClaim => !isBlocked(c));
const paperAt = (id: string): number | undefined => {
  const claim = measured.find((c) => c.id === id);
  return claim?.paper.find((p) => p.x === claim.scales.full.at)?.value;
};

describe('the shipped claims', () => {
  test('every claim of the paper has an entry', () => {
    const ids = new Set(claims.map((c) => c.id));
    const wanted =
      'fig1a fig2a fig8 fig4a fig4a-gather fig4b fig4b-gather fig6a fig6b fig7a fig7b fig10-mlp fig10-attention fig10-routers fig11-gemm fig11-attention fig12-opt-30b fig12-llama-2-13b fig13 fig14 fig15 union-fades head-batch-invariant near-linear-attention near-linear-gemm greedy-topk crossover';
    for (const id of wanted.split(' ')) expect(ids).toContain(id);
    expect(claims.length).toBeGreaterThanOrEqual(20);
  });

  // By hand from the paper's figures and from its text.
  test.each([
    ['fig1a-share', 67.1],
    ['fig4a', 0.425 / 0.077],
    ['fig4b', 3.27 / 1.18],
    ['fig6a', 2470 / 1352],
    ['fig6b', 485 / 222],
    ['fig6b-batch1', 20 / 12],
    ['fig7a', 1258 / 682],
    ['fig7b', 152 / 100.8],
    ['fig10-mlp', 0.85 / 0.45],
    ['fig10-attention', 3.27 / 1.79],
    ['fig10-routers', 0.19 / 0.05],
    ['fig11-gemm', 0.245 / 0.046],
    ['fig11-attention', 2.12 / 0.69],
    ['fig12-opt-30b', 727 / 391],
    ['fig12-llama-2-13b', 765 / 413],
    ['fig14', 135 / 67],
    ['fig14-mlp-sparse', 102 / 67],
    ['fig15', 41.7 / 23.6],
    ['fig15-llama-3.1-70b', 450 / 334],
  ])('%s has the number of its figure', (id, value) => {
    expect(paperAt(id)).toBeCloseTo(value, 10);
  });

  test('every reference to a model is one model in all sweeps of a scale', () => {
    for (const claim of measured) {
      for (const { sweeps } of Object.values(claim.scales)) {
        expect(new Set(sweeps.map((s) => s.models[0])).size, claim.id).toBe(1);
      }
    }
  });
});

describe('what is wrong in a claims file is said', () => {
  const one = (change: Record<string, unknown>): string =>
    JSON.stringify({
      description: 'test',
      claims: [
        {
          id: 'a',
          figure: 'Fig. 1',
          statement: 's',
          test: 'number',
          quantity: { kind: 'speedup', kernel: 'attention/selective-head' },
          axis: 'batch',
          paper: { source: 'p', x: [1], value: [2] },
          full: { sweeps: [{ models: ['opt-66b'] }], x: [1], at: 1 },
          small: { sweeps: [{ models: ['opt-66b'] }], x: [1], at: 1 },
          ...change,
        },
      ],
    });

  test('the unchanged one is fine', () => {
    expect(parseClaims(one({}), figures, 'f')).toHaveLength(1);
  });

  test.each([
    [
      'a reference that leads nowhere',
      { paper: { source: 'p', x: '/fig99/batch', value: 1 } },
      /figures.json/,
    ],
    ['lists of different lengths', { paper: { source: 'p', x: [1, 2], value: [1] } }, /2 numbers above 0/],
    ['a number test without a place', { full: { sweeps: [{ models: ['m'] }], x: [1] } }, /f/],
    ['an unknown test', { test: 'wobbling' }, /f/],
  ])('%s', (_, change, message) => {
    expect(() => parseClaims(one(change), figures, 'f')).toThrow(ConfigError);
    expect(() => parseClaims(one(change), figures, 'f')).toThrow(message);
  });
});

import { describe, expect, it } from 'vitest';
import { simulatePaired, simulateStored } from '../../../src/gate/simulate.js';

/** A small version of `npm run gate:simulate`, whose results docs/ci.md quotes. */
const outcomes = <T>(count: number, one: (seed: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => one(4242 + i));

describe('the gate on data with known truth', () => {
  it('compare: finds 10 % in 10 of 200 cells and nothing among the others, nine runs a side', () => {
    const set = { cells: 200, planted: 10, slowdown: 0.1, samplesPerCell: 20 };
    for (const o of outcomes(3, (seed) => simulateStored({ ...set, seed }, 9))) {
      expect(o.falseAlarms).toBe(0);
      expect(o.found).toBeGreaterThanOrEqual(9);
    }
  });

  it('compare: raises no alarm over single runs of an unchanged build', () => {
    const set = { cells: 200, planted: 0, slowdown: 0, samplesPerCell: 20 };
    const alarms = outcomes(10, (seed) => simulateStored({ ...set, seed }, 1).falseAlarms);
    expect(alarms.reduce((a, b) => a + b, 0)).toBe(0);
  });

  it('ab: finds 5 % in one of 20 cells and nothing among the others', () => {
    const set = { cells: 20, planted: 1, slowdown: 0.05, samplesPerCell: 10 };
    for (const o of outcomes(10, (seed) => simulatePaired({ ...set, seed }))) {
      expect(o).toEqual({ found: 1, falseAlarms: 0, falsePraise: 0 });
    }
  });
});

import { describe, expect, it } from 'vitest';
import { confirm, judgePaired, type Pair, type PairedCell } from '../../../src/gate/paired.js';

/** Rounds whose ratio is `ratio` times the given noise factors. */
function pairs(ratio: number, noise: readonly number[]): Pair[] {
  return noise.map((n) => ({ baseUs: 100, headUs: 100 * ratio * n }));
}

const QUIET = [1.001, 0.999, 1.0005, 0.9995, 1.002, 0.998, 1.0008, 0.9992];
const LOUD = [1.05, 0.95, 1.08, 0.92, 1.03, 0.97, 1.06, 0.94];

function cell(ratio: number, noise: readonly number[] = QUIET): PairedCell {
  return { title: `ratio ${ratio}`, pairs: pairs(ratio, noise), baseReason: null, headReason: null };
}

const verdict = (...cells: PairedCell[]): string[] => judgePaired(cells, 0.02).map((v) => v.verdict);

describe('judgePaired', () => {
  it('needs both the threshold and the significance', () => {
    expect(verdict(cell(1.03))).toEqual(['regressed']);
    expect(verdict(cell(1.015))).toEqual(['same']);
    expect(verdict(cell(1.03, LOUD))).toEqual(['inconclusive']);
    expect(verdict(cell(1))).toEqual(['same']);
    expect(verdict(cell(0.97))).toEqual(['improved']);
  });

  it('is inconclusive at the edge: significant, below the threshold, interval beyond it', () => {
    const edge = pairs(1.0195, [1.002, 0.998, 1.003, 0.997, 1.002, 0.998, 1.003, 0.997]);
    const [v] = judgePaired([{ ...cell(1), pairs: edge }], 0.02);
    expect(v?.verdict).toBe('inconclusive');
    expect(v?.q).toBeLessThan(0.05);
    expect(v?.effect).toBeCloseTo(0.0195, 4);
    expect(v?.interval?.high).toBeGreaterThan(0.02);
  });

  it('reports effect, medians and rounds', () => {
    const [v] = judgePaired([cell(1.03, [1, 1, 1, 1, 1, 1, 1, 1])], 0.02);
    expect(v).toMatchObject({ baseUs: 100, headUs: 103, baseRuns: 8, headRuns: 8, p: 0, q: 0, reason: null });
    expect(v?.effect).toBeCloseTo(0.03, 12);
  });

  it('corrects for the number of cells', () => {
    // One-sided p is between 0.01 and 0.05: enough alone, not among forty cells that did not change.
    const weak: PairedCell = {
      ...cell(1),
      pairs: pairs(1.03, [1.03, 0.97, 1.04, 0.96, 1.03, 0.98, 1.04, 0.97]),
    };
    const [alone] = judgePaired([weak], 0.02);
    expect(alone?.verdict).toBe('regressed');
    expect(alone?.p).toBeGreaterThan(0.01);
    const others = Array.from({ length: 40 }, () => cell(1));
    expect(judgePaired([weak, ...others], 0.02)[0]?.verdict).toBe('inconclusive');
  });

  it('says missing and new, with the reason, where one side could not be measured', () => {
    const none = { title: 'x', pairs: [] };
    const [lost, added, both] = judgePaired(
      [
        { ...none, baseReason: null, headReason: 'E_CRASHED' },
        { ...none, baseReason: 'no such kernel', headReason: null },
        { ...none, baseReason: 'a', headReason: 'b' },
      ],
      0.02,
    );
    expect(lost).toMatchObject({ verdict: 'missing', reason: 'head: E_CRASHED', effect: null });
    expect(added).toMatchObject({ verdict: 'new', reason: 'base: no such kernel' });
    expect(both).toMatchObject({ verdict: 'inconclusive', reason: 'base: a; head: b' });
  });
});

describe('confirm', () => {
  const [slow, same, fast] = [1.05, 1, 0.95].map((r) => judgePaired([cell(r)], 0.02)[0]!);

  it('keeps a finding that is found again in the same direction', () => {
    expect(confirm(slow!, slow!).verdict).toBe('regressed');
    expect(confirm(fast!, fast!).verdict).toBe('improved');
  });

  it('drops one that is not, and never makes a new one', () => {
    expect(confirm(slow!, same!)).toMatchObject({
      verdict: 'inconclusive',
      reason: /not in fresh processes/,
    });
    expect(confirm(slow!, fast!).verdict).toBe('inconclusive');
    expect(confirm(same!, slow!).verdict).toBe('same');
  });

  it('takes a kernel that failed the second time for missing', () => {
    const lost = judgePaired([{ ...cell(1.05), headReason: 'failed: planted' }], 0.02)[0]!;
    expect(confirm(slow!, lost)).toMatchObject({ verdict: 'missing', reason: 'head: failed: planted' });
  });
});

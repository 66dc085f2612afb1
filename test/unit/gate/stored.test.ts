import { describe, expect, it } from 'vitest';
import { judgeStored, type StoredCell, type StoredRun } from '../../../src/gate/stored.js';

const run = (medianUs: number, halfWidth = 0.003): StoredRun => ({
  medianUs,
  lowUs: medianUs * (1 - halfWidth),
  highUs: medianUs * (1 + halfWidth),
});

function cell(base: readonly number[], head: readonly number[], title = 'cell'): StoredCell {
  return {
    title,
    base: base.map((us) => run(us)),
    head: head.map((us) => run(us)),
    baseReason: null,
    headReason: null,
  };
}

const judge = (...cells: StoredCell[]): string[] => judgeStored(cells, 0.05).verdicts.map((v) => v.verdict);
const NINE = [99, 99.5, 99.8, 100, 100.1, 100.3, 100.6, 101, 101.4];
const times = (factor: number): number[] => NINE.map((us) => us * factor);

describe('judgeStored with several runs a side', () => {
  it('needs the threshold and the rank test', () => {
    expect(judge(cell(NINE, times(1.06)))).toEqual(['regressed']);
    expect(judge(cell(NINE, times(1.046)))).toEqual(['inconclusive']);
    expect(judge(cell(NINE, times(1.005)))).toEqual(['same']);
    expect(judge(cell(NINE, times(1 / 1.06)))).toEqual(['improved']);
  });

  it('takes p from the rank test where that can decide', () => {
    const [v] = judgeStored([cell(NINE, times(1.06))], 0.05).verdicts;
    // 9 against 9 without overlap: one ordering of 48620.
    expect(v?.p).toBeCloseTo(1 / 48620, 15);
    expect(v).toMatchObject({ baseRuns: 9, headRuns: 9, baseUs: 100.1 });
  });

  it('takes a t test where too few runs have too few orderings', () => {
    const five = [99, 99.5, 100, 100.5, 101];
    const others = Array.from({ length: 199 }, () => cell(five, five));
    const { verdicts } = judgeStored(
      [
        cell(
          five,
          five.map((v) => v * 1.1),
        ),
        ...others,
      ],
      0.05,
    );
    expect(verdicts[0]?.verdict).toBe('regressed');
    expect(verdicts[0]?.p).toBeLessThan(1e-5);
    expect(new Set(verdicts.slice(1).map((v) => v.verdict))).toEqual(new Set(['same']));
  });

  it('asks for more runs where the difference is large and the noise too', () => {
    const [v] = judgeStored([cell([90, 110], [104, 124])], 0.05).verdicts;
    expect(v).toMatchObject({ verdict: 'inconclusive', reason: /more runs a side/ });
  });
});

describe('judgeStored with one run a side', () => {
  it('assumes that sessions differ by 2 % where few cells say nothing about it', () => {
    expect(judge(cell([100], [106]))).toEqual(['regressed']);
    // z = ln(1.046) / 0.0201 = 2.2, and below the threshold too.
    expect(judge(cell([100], [104.6]))).toEqual(['inconclusive']);
    // The 95 % interval is about +-4 %, inside +-5 %.
    expect(judge(cell([100], [100.5]))).toEqual(['same']);
  });

  it('takes away what all cells share, as long as that is below the threshold', () => {
    const shifted = Array.from({ length: 40 }, (_, i) =>
      cell([100 + i], [(100 + i) * (1.03 + 0.0002 * (i % 5))]),
    );
    const both = [cell([100], [107]), cell([100], [115]), ...shifted];
    const { verdicts, sessionShift } = judgeStored(both, 0.05);
    // 7 % slower in a session that is 3 % slower: 4 % are its own, below the threshold.
    expect(verdicts[0]?.verdict).not.toBe('regressed');
    expect(verdicts[0]?.effect).toBeCloseTo(0.07, 12);
    expect(verdicts[1]?.verdict).toBe('regressed');
    expect(sessionShift).toBeCloseTo(0.0304, 3);
  });

  it('does not explain away a slowdown of everything', () => {
    const slower = Array.from({ length: 40 }, (_, i) =>
      cell([100 + i], [(100 + i) * (1.1 + 0.0002 * (i % 5))]),
    );
    expect(new Set(judge(...slower))).toEqual(new Set(['regressed']));
  });

  it('does not make a slow cell of one that kept its speed while all others gained', () => {
    const faster = Array.from({ length: 40 }, (_, i) =>
      cell([100 + i], [(100 + i) * (0.97 + 0.0002 * (i % 5))]),
    );
    expect(judge(cell([100], [103]), ...faster)[0]).not.toBe('regressed');
  });

  it('uses the middle run of the side that has several', () => {
    const [v] = judgeStored([cell([100], [200, 100, 100.2])], 0.05).verdicts;
    expect(v).toMatchObject({ verdict: 'same', headRuns: 3 });
  });
});

describe('cells on one side only', () => {
  it('are missing and new, with the reason where the row gives one', () => {
    const { verdicts } = judgeStored(
      [cell([100], []), cell([], [100]), { ...cell([100], []), headReason: 'failed: E_HUNG' }],
      0.05,
    );
    expect(verdicts.map((v) => v.verdict)).toEqual(['missing', 'new', 'missing']);
    expect(verdicts[0]).toMatchObject({ baseUs: 100, headUs: null, effect: null, reason: null });
    expect(verdicts[2]?.reason).toBe('failed: E_HUNG');
  });

  it('gives nothing for nothing', () => {
    expect(judgeStored([], 0.05)).toEqual({ verdicts: [], sessionShift: null });
  });
});

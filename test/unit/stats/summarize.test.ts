import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/core/errors.js';
import type { CandidateOutcome } from '../../../src/core/outcome.js';
import { summarizeCell } from '../../../src/stats/summarize.js';
import { attentionCell, failed, okOutcome, outcomeOf, skipped } from '../report/measured-cell.js';

const SEED = 4;
const cell = attentionCell(['attention/dense', 'attention/dense-per-query-head', 'attention/selective-head']);

function summarize(...candidates: CandidateOutcome[]): ReturnType<typeof summarizeCell> {
  return summarizeCell(cell, outcomeOf(candidates), SEED);
}

describe('summarizeCell', () => {
  it('takes the fastest dense candidate as the baseline, with a speedup of exactly 1', () => {
    const [dense, perHead, sparse] = summarize(
      okOutcome([300, 310, 290]),
      okOutcome([200, 210, 190]),
      okOutcome([100, 100, 100]),
    );
    expect(perHead?.speedup).toEqual({ ratio: 1, ci: { low: 1, high: 1 } });
    expect(dense?.speedup?.ratio).toBeCloseTo(2 / 3, 12);
    // Ratios 2, 2.1, 1.9.
    expect(sparse?.speedup?.ratio).toBe(2);
    expect(sparse?.speedup?.ci).toEqual({ low: 1.9, high: 2.1 });
    for (const s of [dense, perHead, sparse])
      expect(s?.baselineKernel).toBe('attention/dense-per-query-head');
  });

  it('describes the latency: count, median, quartiles, interval; discarded rounds do not count', () => {
    const [dense] = summarize(okOutcome([10, null, 20, 30, 40, null, 50]), okOutcome([99]), okOutcome([9]));
    expect(dense?.latency).toMatchObject({ numSamples: 5, medianNs: 30, q1Ns: 20, q3Ns: 40 });
    expect(dense?.latency.ci.low).toBeGreaterThanOrEqual(10);
    expect(dense?.latency.ci.high).toBeLessThanOrEqual(50);
  });

  it('never takes a sparse candidate as the baseline, however fast', () => {
    const [, , sparse] = summarize(okOutcome([300]), okOutcome([200]), okOutcome([1]));
    expect(sparse?.speedup?.ratio).toBe(200);
  });

  it('keeps to the first of equally fast dense candidates', () => {
    expect(summarize(okOutcome([5]), okOutcome([5]), okOutcome([5]))[2]?.baselineKernel).toBe(
      'attention/dense',
    );
  });

  it('is null for a candidate that is not ok or kept no sample, and passes over it as a baseline', () => {
    const [dense, perHead, sparse] = summarize(failed(), okOutcome([null, null]), okOutcome([1, 2]));
    expect(dense).toBeNull();
    expect(perHead).toBeNull();
    expect(sparse).toMatchObject({ speedup: null, baselineKernel: null });
    expect(summarize(skipped(), failed(), okOutcome([]))).toEqual([null, null, null]);
  });

  it('has no speedup where no round is common with the baseline, but still names it', () => {
    const [, , sparse] = summarize(okOutcome([10, null]), failed(), okOutcome([null, 5]));
    expect(sparse).toMatchObject({ speedup: null, baselineKernel: 'attention/dense' });
  });

  it('gives the median clock of the readings there are', () => {
    const clocks = okOutcome([1, 2, 3], { clockMhz: [1_900, null, 1_980] });
    const [dense, perHead] = summarize(clocks, okOutcome([1]), okOutcome([1]));
    expect(dense?.medianClockMhz).toBe(1_940);
    expect(perHead?.medianClockMhz).toBeNull();
  });

  it('repeats exactly for a seed', () => {
    const candidates = [okOutcome([3, 4, 5, 9]), okOutcome([4, 5, 6, 7]), okOutcome([1, 2, 3, 2])];
    expect(summarize(...candidates)).toEqual(summarize(...candidates));
  });

  it('refuses samples that no clock can give, and an outcome of another cell', () => {
    for (const bad of [0, -1, Number.NaN, Infinity]) {
      expect(() => summarize(okOutcome([1, bad]), failed(), failed())).toThrow(
        /for a sample of attention\/dense/,
      );
    }
    expect(() => summarize(failed())).toThrow(InternalError);
  });
});

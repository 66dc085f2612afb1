import { describe, expect, it } from 'vitest';
import type { StopReason } from '../../../src/core/outcome.js';
import type { CandidateSummary } from '../../../src/core/summary.js';
import { noiseReached, precisionWarnings } from '../../../src/stats/precision.js';

const summary = (halfWidth: number, speedupHalfWidth: number | null): CandidateSummary => ({
  latency: {
    numSamples: 12,
    medianNs: 100,
    ci: { low: 100 - 100 * halfWidth, high: 100 + 100 * halfWidth },
    q1Ns: 99,
    q3Ns: 101,
  },
  speedup:
    speedupHalfWidth === null
      ? null
      : { ratio: 2, ci: { low: 2 - 2 * speedupHalfWidth, high: 2 + 2 * speedupHalfWidth } },
  baselineKernel: null,
  medianClockMhz: null,
});

const warn = (stop: StopReason, ...summaries: (CandidateSummary | null)[]): (string | null)[] =>
  precisionWarnings({ candidates: [], stop, warnings: [] }, summaries, 0.005);

describe('noiseReached', () => {
  it('is the wider of both intervals', () => {
    expect(noiseReached(summary(0.01, null))).toBeCloseTo(0.01, 12);
    expect(noiseReached(summary(0.01, 0.02))).toBeCloseTo(0.02, 12);
    expect(noiseReached(summary(0.03, 0.02))).toBeCloseTo(0.03, 12);
  });
});

describe('precisionWarnings', () => {
  it('says which limit ended sampling and what was reached', () => {
    expect(warn('max-time', summary(0.0125, null), null, summary(0.001, 0.002))).toEqual([
      'stopped by --max-time after 12 samples: noise 1.3 %, above the goal of 0.5 %',
      null,
      'stopped by --max-time after 12 samples: noise 0.2 %, goal 0.5 %',
    ]);
    expect(warn('max-samples', summary(0.02, null))[0]).toMatch(/^stopped by the limit on samples after 12/);
    expect(warn('cancelled', summary(0.02, null))[0]).toMatch(/^cancelled after 12 samples/);
  });

  it('says nothing when the goal ended it or nothing was timed', () => {
    expect(warn('precise', summary(0.001, null))).toEqual([null]);
    expect(warn('not-timed', null)).toEqual([null]);
  });
});

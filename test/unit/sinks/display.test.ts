import { describe, expect, it } from 'vitest';
import { formatLatency, threeDigits } from '../../../src/report/format.js';
import { displayRow } from '../../../src/sinks/display.js';
import { escapeMarkdown } from '../../../src/sinks/markdown.js';
import { baselineRow, sparseRow } from './sample-rows.js';

describe('threeDigits', () => {
  it.each([
    [0, '0'],
    [0.012345, '0.0123'],
    [1, '1.00'],
    [12.345, '12.3'],
    [123.45, '123'],
    [98_765.4, '98765'],
    [-1.234, '-1.23'],
    [1e-9, '0.000000'],
  ])('%d is %s', (value, text) => expect(threeDigits(value)).toBe(text));
});

describe('formatLatency', () => {
  it.each([
    [0.5, '500 ns'],
    [1, '1.00 us'],
    [950, '950 us'],
    [1_000, '1.00 ms'],
    [2_500_000, '2.50 s'],
  ])('%d us is %s', (us, text) => expect(formatLatency(us)).toBe(text));
});

describe('displayRow', () => {
  it('states the farther end of an interval that is not symmetric', () => {
    const row = { ...sparseRow, latency_us_median: 100, latency_us_ci_low: 99, latency_us_ci_high: 125 };
    expect(displayRow(row).latency).toBe('100 us ±25%');
  });

  it('shows both densities of a row that has both', () => {
    expect(displayRow({ ...baselineRow, mlp_density: 0.25 }).density).toBe('1/0.25');
  });

  it('has no speedup without a baseline', () => {
    const none = { baseline_kernel: null, speedup: null, speedup_ci_low: null, speedup_ci_high: null };
    expect(displayRow({ ...baselineRow, ...none }).speedup).toBe('-');
  });
});

describe('escapeMarkdown', () => {
  it('takes the meaning from everything that Markdown would read', () => {
    expect(escapeMarkdown('a|b `c` *d* _e_ [f](g) <h> ~i~ \\')).toBe(
      'a\\|b \\`c\\` \\*d\\* \\_e\\_ \\[f\\](g) \\<h\\> \\~i\\~ \\\\',
    );
  });
});

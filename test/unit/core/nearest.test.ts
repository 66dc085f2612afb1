import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance, nearest } from '../../../src/core/nearest.js';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['bacth', 'batch', 1],
    ['ca', 'abc', 3],
    ['opt-66b', 'opt-6.7b', 2],
  ])('%s to %s takes %d', (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
  });

  it('is symmetric, zero only for equal words, and bounded by the longer word', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const d = editDistance(a, b);
        expect(d).toBe(editDistance(b, a));
        expect(d === 0).toBe(a === b);
        expect(d).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(d).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });
});

describe('nearest', () => {
  const names = ['llama-2-7b', 'llama-3-8b', 'llama-3.1-8b', 'opt-66b', 'mistral-7b'];

  it('puts the closest first', () => {
    expect(nearest('lama-3-8b', names)[0]).toBe('llama-3-8b');
    expect(nearest('opt66b', names)).toEqual(['opt-66b']);
  });

  it('ignores case and completes a beginning', () => {
    expect(nearest('LLAMA-3-8B', names)[0]).toBe('llama-3-8b');
    expect(nearest('mis', names)).toEqual(['mistral-7b']);
  });

  it('is silent about words that are far away, empty or absurdly long', () => {
    expect(nearest('falcon-180b', names)).toEqual([]);
    expect(nearest('', names)).toEqual([]);
    expect(nearest('x'.repeat(100_000), names)).toEqual([]);
  });

  it('returns no more than asked for', () => {
    expect(nearest('llama', names, 2)).toHaveLength(2);
  });

  it('becomes a hint', () => {
    expect(didYouMean('bacth', ['batch', 'seq'])).toBe('Did you mean batch?');
    expect(didYouMean('zzzz', ['batch', 'seq'])).toBe('Known: batch, seq.');
  });
});

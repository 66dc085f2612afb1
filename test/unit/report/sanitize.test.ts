import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeJsonForTerminal, sanitizeForTerminal } from '../../../src/report/sanitize.js';

const DANGEROUS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/; // oxlint-disable-line no-control-regex

describe('sanitizeForTerminal', () => {
  it.each([
    ['\u001b[31mred\u001b[0m', '␛[31mred␛[0m'],
    ['\u001b]0;title\u0007', '␛]0;title␇'],
    ['a\r\nb\tc\u0000', 'a␍␊b␉c␀'],
    ['del\u007f', 'del␡'],
    ['c1 \u009b31m \u0080', 'c1 <U+009B>31m <U+0080>'],
    ['evil\u202egnp.exe\u2066x\u2069', 'evil<U+202E>gnp.exe<U+2066>x<U+2069>'],
    ['\ufeffbom\u2028line', '<U+FEFF>bom<U+2028>line'],
    ['half \ud83d pair', 'half \ufffd pair'],
  ])('replaces visibly in %j', (text, expected) => {
    expect(sanitizeForTerminal(text)).toBe(expected);
  });

  it('leaves other text alone, non-ASCII and emoji sequences too', () => {
    for (const text of ['', 'LLaMA-3 8B', 'Größe 模型 ±µ', 'עברית العربية', '👩‍🔬 🏳️‍🌈', '=1+1|<b>`"\',']) {
      expect(sanitizeForTerminal(text)).toBe(text);
    }
  });

  it('lets nothing through, and replacing again changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const safe = sanitizeForTerminal(text);
        expect(safe).not.toMatch(DANGEROUS);
        expect(safe).not.toMatch(/\p{Surrogate}/u);
        expect(sanitizeForTerminal(safe)).toBe(safe);
      }),
    );
  });
});

describe('escapeJsonForTerminal', () => {
  it('keeps the value and lets nothing through', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const json = escapeJsonForTerminal(JSON.stringify({ text }));
        expect(json).not.toMatch(DANGEROUS);
        expect(JSON.parse(json)).toEqual({ text });
      }),
    );
    expect(escapeJsonForTerminal('"\u009b"')).toBe('"\\u009b"');
  });
});

import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/core/errors.js';
import { configError, jsonPointer, parseJsonObject, quoted, valueAt } from '../../../src/core/json.js';

describe('quoted', () => {
  it('escapes control characters, C1 included', () => {
    expect(quoted('\u001b[31mred')).toBe(String.raw`"\u001b[31mred"`);
    expect(quoted('\u009b31m')).toBe(String.raw`"\u009b31m"`);
  });

  it('cuts long text and names what is missing', () => {
    expect(quoted('x'.repeat(1000))).toBe(`"${'x'.repeat(60)}..."`);
    expect(quoted(undefined)).toBe('nothing');
    expect(quoted([])).toBe('[]');
    expect(quoted([1, 2])).toBe('a list of 2');
    expect(quoted({ a: 1 })).toBe('an object');
    expect(quoted(Number.NaN)).toBe('NaN');
  });
});

describe('a value that is nested without end', () => {
  it('is described instead of walked', () => {
    const document = parseJsonObject(`{"a": ${'['.repeat(200_000)}${']'.repeat(200_000)}}`, 'x.json');
    expect(configError('x.json', ['a'], 'a number', document['a']).message).toBe(
      'Expected a number for /a in x.json, got a list of 1',
    );
  });
});

describe('jsonPointer', () => {
  it('escapes as RFC 6901 says', () => {
    expect(jsonPointer([])).toBe('');
    expect(jsonPointer(['batch', 2])).toBe('/batch/2');
    expect(jsonPointer(['a/b', 'c~d'])).toBe('/a~1b/c~0d');
  });
});

describe('parseJsonObject', () => {
  it('reads an object, also after a byte order mark', () => {
    expect(parseJsonObject('\uFEFF{"a": 1}', 'x.json')).toEqual({ a: 1 });
  });

  it.each(['', '{', 'not json', '\u001b]0;title\u0007'])(
    'refuses %j as not JSON, naming the file',
    (text) => {
      expect(() => parseJsonObject(text, 'x.json')).toThrow(/^Expected JSON for x\.json, got /);
      expect(() => parseJsonObject(text, 'x.json')).toThrow(ConfigError);
    },
  );

  it.each(['[]', 'null', '3', '"text"'])('refuses %s as not an object', (text) => {
    expect(() => parseJsonObject(text, 'x.json')).toThrow(/^Expected a JSON object for x\.json, got /);
  });
});

describe('valueAt and configError', () => {
  it('reads own keys only', () => {
    expect(valueAt({ a: [{ b: 7 }] }, ['a', 0, 'b'])).toBe(7);
    expect(valueAt({}, ['constructor'])).toBeUndefined();
  });

  it('follows the message grammar', () => {
    const error = configError('x.json', ['batch', 0], 'an integer', undefined);
    expect(error.message).toBe('Expected an integer for /batch/0 in x.json, got nothing');
    expect(error.hint).toBe('The key is missing.');
    expect(error.exitCode).toBe(2);
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'csv-stringify/sync';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { forEachCsvRecord, forEachLine } from '../../../src/sinks/lines.js';

const folder = mkdtempSync(join(tmpdir(), 'polar-lines-'));
const path = join(folder, 'file');
afterAll(() => rmSync(folder, { recursive: true }));

function records(text: string): string[][] {
  writeFileSync(path, text);
  const all: string[][] = [];
  forEachCsvRecord(path, (fields) => all.push(fields));
  return all;
}

describe('forEachCsvRecord', () => {
  it('reads what the CSV writer writes, whatever the text', () => {
    const field = fc.string({ unit: fc.constantFrom('a', ',', '"', '\r', '\n', ' ', 'é', '模', "'") });
    const table = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(table, fc.constantFrom('\r\n', '\n'), (rows, delimiter) => {
        expect(records(stringify(rows, { record_delimiter: delimiter, quoted_match: /[\r\n]/ }))).toEqual(
          rows,
        );
      }),
    );
  });

  it('joins records across pieces of a megabyte', () => {
    const long = `"${'x'.repeat(700_000)}""${'é'.repeat(700_000)}",b\r\n`;
    const all = records(long.repeat(3));
    expect(all.map((r) => [r[0]?.length, r[1]])).toEqual(Array.from({ length: 3 }, () => [1_400_001, 'b']));
  });

  it('takes a last record without line break and an empty file', () => {
    expect(records('a,b\n1,2')).toEqual([
      ['a', 'b'],
      ['1', '2'],
    ]);
    expect(records('a,')).toEqual([['a', '']]);
    expect(records('')).toEqual([]);
  });

  it('counts lines inside of quoted fields', () => {
    writeFileSync(path, 'a\n"1\n2"\nb\n');
    const lines: number[] = [];
    forEachCsvRecord(path, (_, line) => lines.push(line));
    expect(lines).toEqual([1, 3, 4]);
  });

  it('refuses what is not CSV, with path and line', () => {
    expect(() => records('a,b\nx"y,1\n')).toThrow(/quote in the middle of a field in line 2/);
    expect(() => records('a,b\n"xy"z,1\n')).toThrow(/quote in the middle/);
    expect(() => records('a,"b\n')).toThrow(/inside of a quoted field/);
    expect(() => forEachCsvRecord(join(folder, 'absent'), () => {})).toThrow(/readable file.*absent/);
  });
});

describe('forEachLine', () => {
  it('numbers whole lines and says how much follows the last', () => {
    writeFileSync(path, 'one\ntwo\nthr');
    const lines: string[] = [];
    expect(forEachLine(path, (line, number) => lines.push(`${number}:${line}`))).toBe(3);
    expect(lines).toEqual(['1:one', '2:two']);
  });
});

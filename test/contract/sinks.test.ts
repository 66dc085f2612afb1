import { parse } from 'csv-parse/sync';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Row } from '../../src/core/row.js';
import { COLUMN_HEADERS, COLUMNS } from '../../src/report/columns.js';
import { sanitizeForTerminal } from '../../src/report/sanitize.js';
import { createSink } from '../../src/sinks/create.js';
import { FORMATS, type Format, type SinkOptions } from '../../src/sinks/sink.js';
import {
  ALL_ROWS,
  baselineRow,
  failedRow,
  HOSTILE,
  incorrectRow,
  mlpRow,
  skippedRow,
  sparseRow,
} from '../unit/sinks/sample-rows.js';

async function render(format: Format, rows: readonly Row[], options?: SinkOptions): Promise<string> {
  const pieces: string[] = [];
  const sink = await createSink(format, { write: (text) => void pieces.push(text) }, options);
  sink.header();
  for (const row of rows) sink.row(row);
  sink.finish();
  return pieces.join('');
}

/** Everything that must not reach a terminal, line breaks apart: those structure the output. */
const UNSAFE =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

const SHOWN = [baselineRow, sparseRow, incorrectRow, failedRow, skippedRow, mlpRow];

describe.each(FORMATS)('the sink %s', (format) => {
  it('shows kernel and status of every row', async () => {
    const text = await render(format, SHOWN);
    for (const row of SHOWN) {
      const [, kernel = ''] = row.kernel.split('/');
      const line = text.split('\n').find((l) => l.includes(kernel) && l.includes(row.status));
      expect(line, `${row.kernel} ${row.status}`).toBeDefined();
    }
  });

  it('says why a row is not ok, and its warnings', async () => {
    const text = await render(format, SHOWN);
    for (const row of [incorrectRow, failedRow, skippedRow]) expect(text).toContain(bare(format, row.reason));
    // Tables show the noise beside the latency and count the rows; data formats keep the row's own words.
    const people = format === 'table' || format === 'md';
    expect(text).toContain(people ? '1 of 5 rows ended by --max-time' : bare(format, sparseRow.warnings));
    const other = 'rotates over 2 copies only';
    expect(await render(format, [{ ...sparseRow, warnings: other }])).toContain(other);
  });

  it('prints null only where JSON needs it, and never NaN or undefined', async () => {
    const text = await render(format, SHOWN);
    expect(text).not.toMatch(/NaN|undefined/);
    expect(text.includes('null')).toBe(format === 'json' || format === 'jsonl');
  });

  it('lets no escape sequence, control or reordering mark through', async () => {
    expect(await render(format, ALL_ROWS)).not.toMatch(UNSAFE);
  });

  it('lets none through from any text in any text column', async () => {
    const headers = COLUMNS.filter((c) => c.type === 'text').map((c) => c.header);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...headers), fc.string({ unit: 'binary' }), async (header, text) => {
        expect(await render(format, [{ ...failedRow, [header]: text }])).not.toMatch(UNSAFE);
      }),
    );
  });

  it('keeps text that is merely not ASCII', async () => {
    expect(await render(format, ALL_ROWS)).toContain(HOSTILE.nonAscii);
  });

  it('ends with a line break, also without a row where it prints anything', async () => {
    for (const rows of [[], SHOWN]) {
      const text = await render(format, rows);
      expect(text === '' || text.endsWith('\n')).toBe(true);
    }
  });

  it('colours nothing unless it was told to', async () => {
    expect(await render(format, SHOWN)).toBe(await render(format, SHOWN, { colour: false }));
    expect(await render(format, SHOWN)).not.toContain('\u001b');
  });
});

/** Text as it appears in a format, for those that escape some ASCII. */
function bare(format: Format, text: string | null): string {
  return format === 'md' ? (text ?? '').replaceAll('_', '\\_') : (text ?? '');
}

const sanitizedRow = (row: Row): Record<string, unknown> =>
  Object.fromEntries(
    COLUMN_HEADERS.map((h) => {
      const value = row[h];
      return [h, typeof value === 'string' ? sanitizeForTerminal(value) : value];
    }),
  );

describe('csv', () => {
  it('reads back with a strict RFC 4180 reader and equals the rows', async () => {
    const records = parse<Record<string, string>>(await render('csv', ALL_ROWS), {
      columns: true,
      record_delimiter: '\r\n',
      relax_quotes: false,
      relax_column_count: false,
    });
    const typed = records.map((record) =>
      Object.fromEntries(
        COLUMNS.map(({ header, type }) => {
          const text = record[header] ?? '';
          return [header, text === '' ? null : type === 'text' ? text : Number(text)];
        }),
      ),
    );
    expect(typed).toEqual(ALL_ROWS.map(sanitizedRow));
  });

  it('has one header, one line per row, CR LF, and nothing in front of a formula', async () => {
    const text = await render('csv', ALL_ROWS);
    const lines = text.split('\r\n');
    expect(lines[0]).toBe(COLUMN_HEADERS.join(','));
    expect(lines).toHaveLength(ALL_ROWS.length + 2);
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(text).toContain(',"=HYPERLINK(""x"")",');
    expect(text).toContain(',1234.5678901234567,');
  });

  it('reads back any text that is safe to show', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1 }), async (reason) => {
        const text = await render('csv', [{ ...failedRow, reason }]);
        const [record] = parse<Record<string, string>>(text, { columns: true, record_delimiter: '\r\n' });
        expect(record?.['reason']).toBe(sanitizeForTerminal(reason));
      }),
    );
  });

  it('takes a few seconds at most for 100,000 rows', async () => {
    const sink = await createSink('csv', { write: () => undefined });
    const before = process.cpuUsage();
    for (let i = 0; i < 100_000; i += 1) sink.row(sparseRow);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(5);
  });
});

describe('json and jsonl', () => {
  it('parse to exactly the rows, keys in the order of the columns', async () => {
    const document = JSON.parse(await render('json', ALL_ROWS)) as { schema_version: number; rows: Row[] };
    expect(document).toEqual({ schema_version: 1, rows: ALL_ROWS });
    expect(Object.keys(document.rows[0] ?? {})).toEqual(COLUMN_HEADERS);
    const lines = (await render('jsonl', ALL_ROWS)).trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(ALL_ROWS);
    expect(JSON.parse(await render('json', []))).toEqual({ schema_version: 1, rows: [] });
  });
});

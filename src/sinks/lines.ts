import { closeSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { TraceError } from '../core/errors.js';

/** Result files piece by piece: a set of a hundred thousand rows never is in memory as a whole. */

const PIECE_BYTES = 1 << 20;

/**
 * Hands a file on as text in pieces; characters are never split.
 *
 * @throws TraceError with the path when it cannot be read
 */
function readPieces(path: string, onPiece: (text: string) => void): void {
  const decoder = new StringDecoder('utf8');
  const buffer = Buffer.alloc(PIECE_BYTES);
  let fd: number | null = null;
  try {
    fd = openSync(path, 'r');
    for (;;) {
      const bytes = readSync(fd, buffer, 0, PIECE_BYTES, null);
      if (bytes === 0) break;
      onPiece(decoder.write(buffer.subarray(0, bytes)));
    }
    onPiece(decoder.end());
  } catch (cause) {
    if (cause instanceof TraceError) throw cause;
    throw new TraceError(`Expected a readable file for ${path}, got ${(cause as Error).message}`, {
      hint: 'Name a result folder that a sweep has written, or its rows.csv.',
      cause,
    });
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

/**
 * Calls back for every line that ends with a line feed.
 *
 * @returns characters after the last line feed: 0 unless the file was cut off
 * @throws TraceError with the path when it cannot be read
 */
export function forEachLine(path: string, onLine: (line: string, number: number) => void): number {
  let rest = '';
  let number = 0;
  readPieces(path, (piece) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line, ++number);
  });
  return rest.length;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** RFC 4180, LF accepted for CR LF. Fed in pieces; a record may span any number of them. */
class CsvScanner {
  private fields: string[] = [];
  private text = '';
  private quoted = false;
  /** A quote inside a quoted field was the last character: the end of the field or half of a doubled quote. */
  private afterQuote = false;
  /** Field begins: only here a quote opens. */
  private atStart = true;
  private line = 1;

  constructor(
    private readonly path: string,
    private readonly onRecord: (fields: string[], line: number) => void,
  ) {}

  feed(piece: string): void {
    let from = 0;
    for (let i = 0; i < piece.length; i += 1) {
      const code = piece.charCodeAt(i);
      if (this.quoted && !this.afterQuote) {
        if (code === LINE_FEED) this.line += 1;
        if (code !== QUOTE) continue;
        this.text += piece.slice(from, i);
        this.afterQuote = true;
      } else if (code === COMMA || code === LINE_FEED) {
        this.endField(piece.slice(from, i));
        if (code === LINE_FEED) this.endRecord();
        from = i + 1;
      } else if (code === QUOTE && (this.atStart || this.afterQuote)) {
        // Doubled: the quote itself belongs to the field.
        from = this.afterQuote ? i : i + 1;
        this.quoted = true;
        this.afterQuote = false;
        this.atStart = false;
      } else if (this.afterQuote ? code !== CARRIAGE_RETURN : code === QUOTE) {
        this.fail('a quote in the middle of a field');
      } else {
        this.atStart = false;
      }
    }
    if (!this.afterQuote) this.text += piece.slice(from);
  }

  end(): void {
    if (this.quoted && !this.afterQuote) this.fail('the end of the file inside of a quoted field');
    if (this.text === '' && this.fields.length === 0 && !this.quoted) return;
    this.endField('');
    this.endRecord();
  }

  private endField(rest: string): void {
    const text = this.afterQuote ? this.text : this.text + rest;
    this.fields.push(!this.quoted && text.endsWith('\r') ? text.slice(0, -1) : text);
    this.text = '';
    this.quoted = false;
    this.afterQuote = false;
    this.atStart = true;
  }

  private endRecord(): void {
    this.onRecord(this.fields, this.line);
    this.fields = [];
    this.line += 1;
  }

  private fail(what: string): never {
    throw new TraceError(`Expected CSV (RFC 4180) for ${this.path}, got ${what} in line ${this.line}`, {
      hint: 'Was the file edited by hand? Measure again, or restore it.',
    });
  }
}

/**
 * Calls back for every record of a CSV file, the header included.
 *
 * @param onRecord fields as they are written, and the line at which the record ends
 * @throws TraceError with path and line when it cannot be read or is not RFC 4180
 */
export function forEachCsvRecord(path: string, onRecord: (fields: string[], line: number) => void): void {
  const scanner = new CsvScanner(path, onRecord);
  readPieces(path, (piece) => scanner.feed(piece));
  scanner.end();
}

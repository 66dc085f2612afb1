import { closeSync, openSync, readSync } from 'node:fs';
import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { ElementType } from './safetensors.js';
import type { TraceTensor } from './trace.js';

/** Half precision to double: the value by its definition. */
function fromF16(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

let f16Table: Float32Array | null = null;
function f16Values(): Float32Array {
  f16Table ??= Float32Array.from({ length: 65_536 }, (_, bits) => fromF16(bits));
  return f16Table;
}

let bf16Table: Float32Array | null = null;
/** The upper half of a float32. */
function bf16Values(): Float32Array {
  bf16Table ??= new Float32Array(Uint32Array.from({ length: 65_536 }, (_, bits) => bits << 16).buffer);
  return bf16Table;
}

/**
 * Decodes little-endian floats; this machine is little-endian too, as every one that the addon builds on.
 * @param bytes as many as `out` has elements times the element size
 * @param out [columns], filled
 */
export function decodeFloats(bytes: Uint8Array, dtype: ElementType, out: Float32Array): void {
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new TraceError(`Expected F16, BF16 or F32 for a row of floats, got ${dtype}`);
  }
  const size = dtype === 'F32' ? 4 : 2;
  // Typed views need an aligned start; they are several times faster than a DataView.
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  if (dtype === 'F32') {
    out.set(new Float32Array(aligned.buffer, aligned.byteOffset, out.length));
    return;
  }
  const table = dtype === 'F16' ? f16Values() : bf16Values();
  const bits = new Uint16Array(aligned.buffer, aligned.byteOffset, out.length);
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
}

/** Reads single rows (tokens) of a tensor; open files are kept until `close`. */
export class RowReader {
  private readonly fds: number[] = [];
  private readonly buffer: Uint8Array;

  constructor(readonly tensor: TraceTensor) {
    const first = tensor.segments[0];
    const rowBytes = first === undefined ? 0 : first.tensor.byteLength / first.tokens;
    this.buffer = new Uint8Array(rowBytes);
    try {
      for (const segment of tensor.segments) this.fds.push(openSync(segment.path, 'r'));
    } catch (cause) {
      this.close();
      throw new TraceError(`Expected a readable file for ${tensor.name}, got none`, { cause });
    }
  }

  /** The bytes of a token's row; valid until the next call. @throws TraceError when the file has become shorter */
  bytes(token: number): Uint8Array {
    let local = token;
    let index = 0;
    for (const segment of this.tensor.segments) {
      if (local < segment.tokens) break;
      local -= segment.tokens;
      index++;
    }
    const segment = this.tensor.segments[index];
    const fd = this.fds[index];
    if (segment === undefined || fd === undefined || local < 0) {
      throw new TraceError(
        `Expected a token below ${this.tensor.tokens} for ${this.tensor.name}, got ${token}`,
      );
    }
    const offset = segment.tensor.offset + local * this.buffer.byteLength;
    let done = 0;
    while (done < this.buffer.byteLength) {
      const n = readSync(fd, this.buffer, done, this.buffer.byteLength - done, offset + done);
      if (n === 0) {
        throw new TraceError(
          `Expected ${this.buffer.byteLength} bytes at offset ${offset} of ${quoted(segment.path, 200)}, got ${done}`,
          { hint: 'The file was shortened while it was read.' },
        );
      }
      done += n;
    }
    return this.buffer;
  }

  /** A token's row as numbers; out has `columns` elements. */
  floats(token: number, out: Float32Array): void {
    decodeFloats(this.bytes(token), this.tensor.dtype, out);
  }

  close(): void {
    for (const fd of this.fds.splice(0)) closeSync(fd);
  }
}

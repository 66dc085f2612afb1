import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';

/** Bytes per element of the element types that safetensors defines with whole bytes. */
const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;
export type ElementType = keyof typeof ELEMENT_BYTES;

/** One tensor of a file; `offset` counts from the start of the file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** `__metadata__`, untrusted text */
  readonly metadata: ReadonlyMap<string, string>;
}

/** The largest header that the format allows. */
export const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

function fail(path: string, expected: string, where: string, got: unknown, hint?: string): never {
  throw new TraceError(
    `Expected ${expected} for ${where} of ${quoted(path, 200)}, got ${quoted(got)}`,
    hint === undefined ? {} : { hint },
  );
}

const TRUNCATED = 'The file is truncated, or it is not a safetensors file.';

/**
 * Length of the JSON header, from the first 8 bytes of a file.
 * @param start the first bytes of the file, 8 or fewer
 * @param fileBytes size of the file
 * @throws TraceError when the file cannot hold such a header
 */
export function headerLength(start: Uint8Array, fileBytes: number, path: string): number {
  if (start.byteLength < LENGTH_BYTES || fileBytes < LENGTH_BYTES) {
    fail(path, 'at least 8 bytes', 'the header', fileBytes, TRUNCATED);
  }
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  const most = Math.min(MAX_HEADER_BYTES, fileBytes - LENGTH_BYTES);
  if (length < 2n || length > BigInt(most)) {
    fail(path, `2 to ${most} bytes`, 'the header length', String(length), TRUNCATED);
  }
  return Number(length);
}

function parseHeaderJson(header: Uint8Array, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch (cause) {
    throw new TraceError(`Expected JSON for the header of ${quoted(path, 200)}, got other text`, {
      hint: TRUNCATED,
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(path, 'a JSON object', 'the header', value);
  }
  return value as Record<string, unknown>;
}

const isCount = (v: unknown): v is number => typeof v === 'number' && Number.isSafeInteger(v) && v >= 0;

function isElementType(v: unknown): v is ElementType {
  return typeof v === 'string' && Object.hasOwn(ELEMENT_BYTES, v);
}

function parseTensor(
  name: string,
  entry: unknown,
  dataStart: number,
  dataBytes: number,
  path: string,
): TensorInfo {
  const where = `tensor ${quoted(name, 100)}`;
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    fail(path, 'an object with dtype, shape and data_offsets', where, entry);
  }
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (!isElementType(dtype)) fail(path, 'a safetensors element type', `dtype of ${where}`, dtype);
  if (!Array.isArray(shape) || shape.length > 16 || !shape.every(isCount)) {
    fail(path, 'a list of counts', `shape of ${where}`, shape);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(path, 'two byte offsets', `data_offsets of ${where}`, offsets);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    fail(
      path,
      `ascending offsets up to ${dataBytes}`,
      `data_offsets of ${where}`,
      `${begin}, ${end}`,
      TRUNCATED,
    );
  }
  // A product past 2^53 is no longer exact, but then it is no file's size either.
  const expected = (shape as number[]).reduce((n, d) => n * d, 1) * ELEMENT_BYTES[dtype];
  if (end - begin !== expected) {
    fail(path, `${expected} bytes (shape and dtype)`, where, end - begin);
  }
  return { name, dtype, shape: shape as number[], offset: dataStart + begin, byteLength: expected };
}

/** The format forbids gaps and overlaps: then every byte has one owner, and a damaged offset shows. */
function checkLayout(
  tensors: readonly TensorInfo[],
  dataStart: number,
  dataBytes: number,
  path: string,
): void {
  let end = dataStart;
  const ordered = tensors.toSorted((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  for (const tensor of ordered) {
    if (tensor.offset !== end) {
      const what = tensor.offset < end ? 'an overlap' : 'a gap';
      fail(path, `data from byte ${end - dataStart}`, `tensor ${quoted(tensor.name, 100)}`, what);
    }
    end += tensor.byteLength;
  }
  if (end !== dataStart + dataBytes) {
    fail(path, `${end - dataStart} bytes`, 'the data after the header', dataBytes, TRUNCATED);
  }
}

function parseMetadata(value: unknown, path: string): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(path, 'an object of texts', '__metadata__', value);
  }
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') fail(path, 'a text', `__metadata__ ${quoted(key, 100)}`, text);
    metadata.set(key, text);
  }
  return metadata;
}

/**
 * Parses and checks the header of a safetensors file. Whatever the bytes, the tensors returned lie inside the file, do not
 * overlap and are as long as their shapes say.
 *
 * @param header the JSON header, `headerLength()` bytes from byte 8
 * @param fileBytes size of the whole file
 * @param path for messages
 * @throws TraceError naming the tensor
 */
export function parseHeader(header: Uint8Array, fileBytes: number, path: string): SafetensorsFile {
  const dataStart = LENGTH_BYTES + header.byteLength;
  const dataBytes = fileBytes - dataStart;
  const json = parseHeaderJson(header, path);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    tensors.set(name, parseTensor(name, entry, dataStart, dataBytes, path));
  }
  checkLayout([...tensors.values()], dataStart, dataBytes, path);
  return { path, tensors, metadata: parseMetadata(json['__metadata__'], path) };
}

/** A tensor that is to be written. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/**
 * The first bytes of a safetensors file: length, header, padding to 8 bytes. Tensors follow in the order given.
 * @returns the bytes, and where each tensor's data begins, counted from the start of the file
 */
export function buildHeader(
  tensors: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
): { bytes: Uint8Array; tensors: TensorInfo[]; fileBytes: number } {
  const entries: Record<string, unknown> = { __metadata__: metadata };
  const placed: TensorInfo[] = [];
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    const byteLength = shape.reduce((n, d) => n * d, 1) * ELEMENT_BYTES[dtype];
    entries[name] = { dtype, shape, data_offsets: [end, end + byteLength] };
    placed.push({ name, dtype, shape, offset: end, byteLength });
    end += byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(entries));
  // Data begins at a multiple of 8, as writers of the format do; spaces are valid at the end of JSON.
  const length = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return {
    bytes,
    tensors: placed.map((t) => ({ ...t, offset: t.offset + bytes.byteLength })),
    fileBytes: bytes.byteLength + end,
  };
}

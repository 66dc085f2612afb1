import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { buildHeader, type TensorSpec } from '../../../../src/traces/safetensors.js';

/** A folder that is gone when the test file ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'polar-traces-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Tensor extends TensorSpec {
  readonly data: Uint8Array;
}

export function safetensorsBytes(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header = buildHeader(tensors, metadata);
  const bytes = new Uint8Array(header.fileBytes);
  bytes.set(header.bytes);
  for (const [i, tensor] of tensors.entries()) bytes.set(tensor.data, header.tensors[i]?.offset);
  return bytes;
}

export function writeSafetensors(
  path: string,
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
): string {
  writeFileSync(path, safetensorsBytes(tensors, metadata));
  return path;
}

/** Masks from rows of active neurons. */
export function masks(layer: number, neurons: number, rows: readonly (readonly number[])[]): Tensor {
  const rowBytes = Math.ceil(neurons / 8);
  const data = new Uint8Array(rows.length * rowBytes);
  for (const [t, row] of rows.entries()) {
    for (const j of row)
      data[t * rowBytes + (j >> 3)] = (data[t * rowBytes + (j >> 3)] ?? 0) | (1 << (j & 7));
  }
  return { name: `layers.${layer}.mlp.active`, dtype: 'U8', shape: [rows.length, rowBytes], data };
}

export function floats(name: string, rows: readonly (readonly number[])[]): Tensor {
  const values = Float32Array.from(rows.flat());
  return {
    name,
    dtype: 'F32',
    shape: [rows.length, rows[0]?.length ?? 0],
    data: new Uint8Array(values.buffer),
  };
}

/** A file whose header is exactly this text. */
export function withHeader(header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.byteLength + data.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.byteLength), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.byteLength);
  return bytes;
}

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { TraceError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import {
  headerLength,
  parseHeader,
  type ElementType,
  type SafetensorsFile,
  type TensorInfo,
} from './safetensors.js';

/** Rows of one layer in one file. */
export interface TraceSegment {
  readonly path: string;
  readonly tensor: TensorInfo;
  readonly tokens: number;
}

/** Rows of one kind of data of a layer, over all files in the order given. */
export interface TraceTensor {
  /** Name without the file, `layers.3.mlp.active` */
  readonly name: string;
  readonly dtype: ElementType;
  readonly tokens: number;
  /** Elements per row: D, H, or bytes of a mask */
  readonly columns: number;
  readonly segments: readonly TraceSegment[];
}

export interface TraceLayer {
  /** Counted from 0 */
  readonly layer: number;
  /** `mlp.active` (bit masks) or `mlp.activations`; null where the trace has neither */
  readonly activity: TraceTensor | null;
  /** `attention.head_norms` [tokens, H] */
  readonly headNorms: TraceTensor | null;
  /** `mlp.router_logits` [tokens, D] */
  readonly routerLogits: TraceTensor | null;
}

export interface Trace {
  /** From the files' metadata, else the first file's name; untrusted text */
  readonly model: string;
  readonly paths: readonly string[];
  /** D */
  readonly intermediateSize: number;
  readonly layers: readonly TraceLayer[];
}

const TENSOR_NAME =
  /^layers\.(0|[1-9]\d{0,4})\.(mlp\.active|mlp\.activations|mlp\.router_logits|attention\.head_norms)$/;
const FLOATS: readonly ElementType[] = ['F16', 'BF16', 'F32'];
/** As the native side: a neuron count or token count past these is no trace. */
const MAX_NEURONS = 262_144;
const MAX_TOKENS = 33_554_432;

/** Reads and checks a file's header; no data is read. */
export function openSafetensors(path: string): SafetensorsFile {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new TraceError(`Expected a readable file for --trace, got ${quoted(path, 200)}`, {
      hint: cause instanceof Error ? cause.message : 'The file cannot be opened.',
      cause,
    });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) {
      throw new TraceError(`Expected a plain file for --trace, got ${quoted(path, 200)}`, {
        hint: 'A folder holds its traces in files; name them one by one.',
      });
    }
    const start = new Uint8Array(8);
    const got = readSync(fd, start, 0, 8, 0);
    const length = headerLength(start.subarray(0, got), stat.size, path);
    const header = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const n = readSync(fd, header, filled, length - filled, 8 + filled);
      if (n === 0)
        throw new TraceError(
          `Expected ${length} bytes for the header of ${quoted(path, 200)}, got ${filled}`,
        );
      filled += n;
    }
    return parseHeader(header, stat.size, path);
  } finally {
    closeSync(fd);
  }
}

interface Found {
  readonly file: SafetensorsFile;
  readonly tensor: TensorInfo;
}

function describe(found: Found): string {
  return `tensor ${quoted(found.tensor.name, 100)} of ${quoted(found.file.path, 200)}`;
}

function checkTensor(found: Found, kind: string): void {
  const { tensor } = found;
  const [tokens, columns] = tensor.shape;
  if (tensor.shape.length !== 2 || tokens === undefined || columns === undefined) {
    throw new TraceError(
      `Expected shape [tokens, width] for ${describe(found)}, got ${quoted(tensor.shape)}`,
    );
  }
  const types: readonly ElementType[] = kind === 'mlp.active' ? ['U8'] : FLOATS;
  if (!types.includes(tensor.dtype)) {
    throw new TraceError(
      `Expected dtype ${types.join(', ')} for ${describe(found)}, got ${quoted(tensor.dtype)}`,
    );
  }
  if (tokens < 1 || tokens > MAX_TOKENS) {
    throw new TraceError(`Expected 1 to ${MAX_TOKENS} tokens for ${describe(found)}, got ${tokens}`);
  }
  const most = kind === 'mlp.active' ? MAX_NEURONS / 8 : MAX_NEURONS;
  if (columns < 1 || columns > most) {
    throw new TraceError(`Expected a row of 1 to ${most} elements for ${describe(found)}, got ${columns}`);
  }
}

/** Joins the same tensor of several files along the tokens. */
function join(found: readonly Found[]): TraceTensor | null {
  const first = found[0];
  if (first === undefined) return null;
  const segments = found.map(({ file, tensor }) => ({
    path: file.path,
    tensor,
    tokens: tensor.shape[0] ?? 0,
  }));
  for (const other of found) {
    if (other.tensor.dtype !== first.tensor.dtype || other.tensor.shape[1] !== first.tensor.shape[1]) {
      throw new TraceError(
        `Expected ${first.tensor.dtype} rows of ${first.tensor.shape[1]} for ${describe(other)}, got ${other.tensor.dtype} rows of ${other.tensor.shape[1]}`,
        { hint: `${describe(first)} was read first; the files of one trace must agree.` },
      );
    }
  }
  return {
    name: first.tensor.name,
    dtype: first.tensor.dtype,
    columns: first.tensor.shape[1] ?? 0,
    tokens: segments.reduce((n, s) => n + s.tokens, 0),
    segments,
  };
}

function collect(files: readonly SafetensorsFile[]): Map<number, Map<string, Found[]>> {
  const layers = new Map<number, Map<string, Found[]>>();
  for (const file of files) {
    for (const tensor of file.tensors.values()) {
      const match = TENSOR_NAME.exec(tensor.name);
      // Other tensors are allowed: a trace may carry more than we read.
      if (match === null) continue;
      const found = { file, tensor };
      const kind = match[2] ?? '';
      checkTensor(found, kind);
      const layer = layers.get(Number(match[1])) ?? new Map<string, Found[]>();
      layers.set(Number(match[1]), layer);
      layer.set(kind, [...(layer.get(kind) ?? []), found]);
    }
  }
  return layers;
}

function makeLayer(layer: number, kinds: ReadonlyMap<string, readonly Found[]>): TraceLayer {
  const masks = join(kinds.get('mlp.active') ?? []);
  const activations = join(kinds.get('mlp.activations') ?? []);
  if (masks !== null && activations !== null) {
    throw new TraceError(`Expected masks or activations for layer ${layer}, got both`, {
      hint: `Drop ${activations.name} or ${masks.name}: they could disagree.`,
    });
  }
  const made = {
    layer,
    activity: masks ?? activations,
    headNorms: join(kinds.get('attention.head_norms') ?? []),
    routerLogits: join(kinds.get('mlp.router_logits') ?? []),
  };
  const counts = [made.activity, made.headNorms, made.routerLogits].filter((t) => t !== null);
  const other = counts.find((t) => t.tokens !== counts[0]?.tokens);
  if (other !== undefined) {
    throw new TraceError(
      `Expected ${counts[0]?.tokens} tokens (as ${counts[0]?.name}) for ${other.name}, got ${other.tokens}`,
    );
  }
  return made;
}

/** D from the tensors that carry it, else from the metadata, else all bits of a mask. */
function findNeurons(layers: readonly TraceLayer[], files: readonly SafetensorsFile[]): number {
  const masks = layers.flatMap((l) => (l.activity?.dtype === 'U8' ? [l.activity] : []));
  const wide = layers.flatMap((l) => [
    ...(l.activity !== null && l.activity.dtype !== 'U8' ? [l.activity] : []),
    ...(l.routerLogits === null ? [] : [l.routerLogits]),
  ]);
  const stated = files.map((f) => f.metadata.get('intermediate_size')).find((v) => v !== undefined);
  if (stated !== undefined && !/^[1-9]\d{0,6}$/.test(stated)) {
    throw new TraceError(`Expected a count for __metadata__ intermediate_size, got ${quoted(stated)}`);
  }
  const neurons = wide[0]?.columns ?? (stated === undefined ? (masks[0]?.columns ?? 0) * 8 : Number(stated));
  for (const tensor of wide) {
    if (tensor.columns !== neurons) {
      throw new TraceError(`Expected ${neurons} neurons for ${tensor.name}, got ${tensor.columns}`);
    }
  }
  for (const mask of masks) {
    if (mask.columns !== Math.ceil(neurons / 8)) {
      throw new TraceError(
        `Expected ${Math.ceil(neurons / 8)} bytes a token (${neurons} neurons) for ${mask.name}, got ${mask.columns}`,
      );
    }
  }
  return neurons;
}

/**
 * Opens a trace: headers only, a few kilobytes whatever its size.
 *
 * Several files may hold different layers, more tokens of the same layers, or both; tokens are joined in the order given.
 *
 * @param paths safetensors files
 * @throws TraceError naming file and tensor
 */
export function openTrace(paths: readonly string[]): Trace {
  const files = paths.map((path) => openSafetensors(path));
  const layers = [...collect(files)]
    .map(([layer, kinds]) => makeLayer(layer, kinds))
    .toSorted((a, b) => a.layer - b.layer);
  if (layers.length === 0) {
    throw new TraceError(
      `Expected layers.<i>.mlp.active or its relatives for ${quoted(paths, 200)}, got none`,
      {
        hint: 'docs/traces.md lists the tensor names that are read.',
      },
    );
  }
  const named = files.map((f) => f.metadata.get('model')).find((m) => m !== undefined && m !== '');
  const fromPath = (paths[0] ?? '')
    .split('/')
    .at(-1)
    ?.replace(/\.safetensors$/, '');
  return {
    model: (named ?? fromPath ?? 'trace').slice(0, 100),
    paths,
    intermediateSize: findNeurons(layers, files),
    layers,
  };
}

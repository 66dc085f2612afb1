import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import { didYouMean } from '../core/nearest.js';
import { parseBuiltInModel } from './built-in.js';
import { parseHuggingFaceConfig } from './hugging-face.js';

/** Larger than any config.json by far; keeps a wrong path from filling the memory. */
export const MAX_MODEL_FILE_BYTES = 4 * 1024 * 1024;

/** The file access that loading a model needs; tests pass their own. */
export interface ModelReaders {
  /** What a path is; null where there is nothing. Throws what the file system throws. */
  kind(path: string): 'file' | 'folder' | 'other' | null;
  sizeBytes(path: string): number;
  readText(path: string): string;
  /** Names of the files in a folder. */
  list(folder: string): readonly string[];
  /** Folder of the built-in shapes, configs/models of the package. */
  readonly builtInFolder: string;
}

export const fileReaders: ModelReaders = {
  kind(path) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return null;
    if (stat.isFile()) return 'file';
    return stat.isDirectory() ? 'folder' : 'other';
  },
  sizeBytes: (path) => statSync(path).size,
  readText: (path) => readFileSync(path, 'utf8'),
  list: (folder) => readdirSync(folder),
  // Two levels up from src/models and from dist/models alike.
  builtInFolder: fileURLToPath(new URL('../../configs/models', import.meta.url)),
};

/** Names of the built-in shapes, in natural order (opt-6.7b before opt-13b). */
export function builtInModelNames(readers: ModelReaders = fileReaders): string[] {
  return readers
    .list(readers.builtInFolder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/**
 * All built-in shapes, sorted by name in natural order.
 * @throws ConfigError when a file of the package is damaged
 */
export function listModels(readers: ModelReaders = fileReaders): ModelShape[] {
  return builtInModelNames(readers).map((name) => loadBuiltIn(name, readers));
}

/**
 * Loads a model's dimensions.
 * @param nameOrPath built-in name (`llama-3-8b`), path of a Hugging Face config.json, or folder that holds one.
 *   A built-in name wins over a folder of that name; write `./llama-3-8b` for the folder.
 * @throws UsageError for a name that is neither built in nor a path, with near matches
 * @throws ConfigError for a file that cannot be read or that the kernels do not model
 */
export function loadModel(nameOrPath: string, readers: ModelReaders = fileReaders): ModelShape {
  const names = builtInModelNames(readers);
  if (names.includes(nameOrPath)) return loadBuiltIn(nameOrPath, readers);
  const kind = nameOrPath === '' ? null : guarded(nameOrPath, () => readers.kind(nameOrPath));
  if (kind === null) {
    const looksLikePath = /[/\\]|\.json$/.test(nameOrPath);
    if (looksLikePath) throw unreadable(nameOrPath, 'There is no such file or folder.');
    throw new UsageError(
      `Expected a built-in model, a config.json or its folder for --model, got ${quoted(nameOrPath)}`,
      { hint: didYouMean(nameOrPath, names) },
    );
  }
  const path = kind === 'folder' ? join(nameOrPath, 'config.json') : nameOrPath;
  const shape = parseHuggingFaceConfig(readModelFile(path, readers), path, nameFromPath(path));
  return shape;
}

function loadBuiltIn(name: string, readers: ModelReaders): ModelShape {
  const path = join(readers.builtInFolder, `${name}.json`);
  const shape = parseBuiltInModel(readModelFile(path, readers), `configs/models/${name}.json`);
  if (shape.name !== name) {
    throw new ConfigError(
      `Expected ${name} for /name in configs/models/${name}.json, got ${quoted(shape.name)}`,
      {
        hint: 'A built-in model carries the name of its file.',
      },
    );
  }
  return shape;
}

function readModelFile(path: string, readers: ModelReaders): string {
  const kind = guarded(path, () => readers.kind(path));
  if (kind === null) throw unreadable(path, 'There is no such file.');
  // A pipe or a device could block for ever or never end.
  if (kind !== 'file') throw unreadable(path, 'It is not a plain file.');
  if (guarded(path, () => readers.sizeBytes(path)) > MAX_MODEL_FILE_BYTES) {
    throw unreadable(path, `It is larger than ${MAX_MODEL_FILE_BYTES} bytes.`);
  }
  return guarded(path, () => readers.readText(path));
}

function guarded<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw unreadable(path, cause instanceof Error ? quoted(cause.message, 200).slice(1, -1) : '', cause);
  }
}

function unreadable(path: string, hint: string, cause?: unknown): ConfigError {
  return new ConfigError(`Expected a readable model file for --model, got ${quoted(path, 200)}`, {
    hint,
    cause,
  });
}

/** `Foo-7B/config.json` and `Foo-7B.json` are both called Foo-7B. */
function nameFromPath(path: string): string {
  const file = basename(path);
  const name = file === 'config.json' ? basename(dirname(resolve(path))) : file.replace(/\.json$/, '');
  return name === '' ? 'model' : name;
}

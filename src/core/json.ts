import { ConfigError } from './errors.js';

/**
 * A value as an error message shows it: JSON, cut to a readable length, control characters escaped.
 * @param value anything, also untrusted text; undefined reads as `nothing`
 * @param maxChars length at which it is cut
 */
export function quoted(value: unknown, maxChars = 60): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  // Described, not printed: nesting in an untrusted file may be deep enough to exhaust the stack of a printer.
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null)
    return Object.keys(value).length === 0 ? '{}' : 'an object';
  // Cut before escaping, so that no escape sequence is cut in half.
  const text =
    typeof value === 'string' && value.length > maxChars ? `${value.slice(0, maxChars)}...` : value;
  return (JSON.stringify(text) ?? String(value)).replace(
    /[\u007f-\u009f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * RFC 6901 pointer of a path into a JSON document; the document itself is the empty string.
 * @param path keys and indices from the root
 */
export function jsonPointer(path: readonly PropertyKey[]): string {
  return path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/**
 * Parses text that must hold one JSON object.
 * @param text content of the file, untrusted; a byte order mark is allowed
 * @param origin name of the file for messages
 * @throws ConfigError when it is not JSON or not an object
 */
export function parseJsonObject(text: string, origin: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    throw new ConfigError(`Expected JSON for ${origin}, got ${quoted(text.slice(0, 40))}`, {
      hint:
        cause instanceof Error
          ? quoted(cause.message, 120).slice(1, -1)
          : 'The file must hold one JSON object.',
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(`Expected a JSON object for ${origin}, got ${quoted(value)}`, {
      hint: 'The file must hold one JSON object.',
    });
  }
  return value as Record<string, unknown>;
}

/** The value at a path, undefined where there is none. */
export function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  let value = document;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/**
 * The error for one value of a configuration or model file.
 * @param origin file name
 * @param path keys and indices from the root of the file
 * @param expected what should be there, `an integer from 1 to 4096`
 * @param value what is there; undefined: the key is missing
 * @param hint what to do about it
 */
export function configError(
  origin: string,
  path: readonly PropertyKey[],
  expected: string,
  value: unknown,
  hint?: string,
): ConfigError {
  const where = path.length === 0 ? origin : `${jsonPointer(path)} in ${origin}`;
  const fallback =
    value === undefined ? 'The key is missing.' : 'Correct the value in the file and run again.';
  return new ConfigError(`Expected ${expected} for ${where}, got ${quoted(value)}`, {
    hint: hint ?? fallback,
  });
}

/**
 * Files use lower_snake_case keys, as rows do; code uses camelCase. Both functions change keys of plain objects at any
 * depth and leave values alone. They undo each other for keys without two capitals in a row.
 */
type Snake<S extends string> = S extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${Snake<Tail>}`
  : S;

/** One value per key of T, spelled as in files: a schema that satisfies this fails to compile when T gains a key. */
export type SnakeKeys<T> = Readonly<Record<Snake<keyof T & string>, unknown>>;

type KeyChange = (key: string) => string;

function changeKeys(value: unknown, change: KeyChange): unknown {
  if (Array.isArray(value)) {
    // Long lists of samples hold no objects: no copy.
    return value.some((v) => typeof v === 'object' && v !== null)
      ? value.map((v) => changeKeys(v, change))
      : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [change(k), changeKeys(v, change)]));
}

export function toSnakeCase(value: unknown): unknown {
  return changeKeys(value, (key) => key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`));
}

export function toCamelCase(value: unknown): unknown {
  return changeKeys(value, (key) => key.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase()));
}

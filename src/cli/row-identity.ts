import { sanitizeForTerminal } from '../report/sanitize.js';
import { median } from '../stats/quantiles.js';

/** What makes a row the same measurement on both sides. */
export const IDENTITY = [
  'model',
  'scope',
  'batch_size',
  'kv_len',
  'variant',
  'kernel',
  'active_heads',
  'active_neurons',
] as const;

const SEPARATOR = '\u001f';

/** The identity of a row as text; flat, so that no piece of the file stays in memory behind it. */
export const keyOf = (values: readonly (string | number | null)[]): string =>
  values.map((v) => (v === null ? '' : String(v))).join(SEPARATOR);

/** "llama-3-8b attention/selective-head B=4 N=2048 heads=20" of the key of a cell; untrusted text. */
export function cellTitle(key: string): string {
  const parts = key.split(SEPARATOR);
  const of = (name: (typeof IDENTITY)[number]): string => parts[IDENTITY.indexOf(name)] ?? '';
  const optional = (label: string, value: string): string => (value === '' ? '' : ` ${label}=${value}`);
  const density = optional('heads', of('active_heads')) + optional('neurons', of('active_neurons'));
  const place = `${of('model')} ${of('kernel')} B=${of('batch_size')}${optional('N', of('kv_len'))}`;
  return of('variant') === 'dense' ? place : place + density;
}

interface SampleLine {
  cell: {
    model: { name: string };
    scope: string;
    batch_size: number;
    kv_len: number | null;
    candidates: { active_heads: number | null; active_neurons: number | null }[];
  };
  candidates: { kernel: string; variant: string; status: string; samples_ns?: (number | null)[] }[];
}

/** Median in microseconds of every candidate that is ok, by the identity of its row; null for what is no such line. */
export function mediansOfLine(line: string): [key: string, medianUs: number][] | null {
  try {
    const { cell, candidates } = JSON.parse(line) as SampleLine;
    return candidates.flatMap((c, i): [string, number][] => {
      const samples = (c.samples_ns ?? []).filter((ns) => ns !== null);
      if (c.status !== 'ok' || samples.length === 0) return [];
      const { active_heads: heads = null, active_neurons: neurons = null } = cell.candidates[i] ?? {};
      const model = sanitizeForTerminal(cell.model.name);
      const place = [cell.scope, cell.batch_size, cell.kv_len, c.variant, c.kernel];
      return [[keyOf([model, ...place, heads, neurons]), median(samples) / 1000]];
    });
  } catch {
    // Not JSON, or JSON of another shape: the caller names the line.
    return null;
  }
}

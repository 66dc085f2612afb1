import { ConfigError, UsageError, type PolarBenchError } from '../core/errors.js';
import { quoted } from '../core/json.js';

/** More values than anybody measures; keeps a slip of the pen from filling the memory. */
export const MAX_AXIS_VALUES = 10_000;

/** `8k` is 8192: context lengths count in 1024s. */
const K = 1024;

const RANGE_HINT = 'Examples: 1,4,16 or 1-64*2 or 512-4096+512 or 1k,8k (1k = 1024).';
const DENSITY_HINT = 'Examples: 0.5 or 22/72 or 0.1,0.3,0.5.';

/** Where a value was written, for messages and for the class of the error. */
export interface ValueOrigin {
  /** `--batch`, `POLAR_BENCH_BATCH`, `/batch in sweep.json` */
  readonly name: string;
  /** A value of a file is a ConfigError, anything else a UsageError. */
  readonly fromFile?: boolean;
}

/**
 * Parses a RANGE: values and ranges separated by commas.
 * `1,4,16` lists; `1-64*2` and `1-64x2` multiply from 1 up to at most 64; `512-4096+512` adds; `k` is 1024.
 * @param text what was typed
 * @param origin where, for messages
 * @param max largest value allowed
 * @returns ascending distinct integers in 1..max, at least one, at most MAX_AXIS_VALUES
 * @throws UsageError or ConfigError naming the origin and the whole value
 */
export function parseRange(text: string, origin: ValueOrigin, max: number): number[] {
  const values = new Set<number>();
  for (const term of text.split(',')) {
    for (const value of expandTerm(term.trim(), text, origin, max)) values.add(value);
    if (values.size > MAX_AXIS_VALUES) throw tooMany(text, origin);
  }
  return ascending(values);
}

/**
 * Checks integers that come from a configuration file as numbers.
 * @returns as `parseRange`
 */
export function checkCounts(counts: readonly number[], origin: ValueOrigin, max: number): number[] {
  for (const value of counts) {
    if (!Number.isInteger(value) || value < 1 || value > max) throw notACount(value, origin, max);
  }
  if (counts.length === 0 || counts.length > MAX_AXIS_VALUES) throw notACount(counts, origin, max);
  return ascending(new Set(counts));
}

/**
 * Parses a list of densities: decimal fractions or `active/total`, separated by commas.
 * @param text what was typed
 * @param origin where, for messages
 * @returns ascending distinct numbers in (0, 1]
 * @throws UsageError or ConfigError naming the origin and the value
 */
export function parseDensities(text: string, origin: ValueOrigin): number[] {
  const terms = text.split(',');
  if (terms.length > MAX_AXIS_VALUES) throw tooMany(text, origin);
  return checkDensities(
    terms.map((term) => parseDensity(term.trim(), text, origin)),
    origin,
  );
}

/** Checks densities that are numbers already; as `parseDensities`. */
export function checkDensities(densities: readonly number[], origin: ValueOrigin): number[] {
  for (const value of densities) if (!(value > 0 && value <= 1)) throw notADensity(value, origin);
  if (densities.length === 0 || densities.length > MAX_AXIS_VALUES) throw notADensity(densities, origin);
  return ascending(new Set(densities));
}

function expandTerm(term: string, text: string, origin: ValueOrigin, max: number): number[] {
  const list = /^(\d+k?)$/i.exec(term);
  if (list) return [parseCount(list[1]!, text, origin, max)];
  const range = /^(\d+k?)-(\d+k?)([*x+])(\d+k?)$/i.exec(term);
  if (!range) throw notACount(text, origin, max);
  const first = parseCount(range[1]!, text, origin, max);
  const last = parseCount(range[2]!, text, origin, max);
  const multiplies = range[3] !== '+';
  const step = toCount(range[4]!);
  if (first > last) {
    throw fail(`Expected a range that ascends for ${origin.name}, got ${quoted(text)}`, RANGE_HINT, origin);
  }
  if (step < (multiplies ? 2 : 1)) {
    const expected = multiplies ? 'a factor of at least 2' : 'a step of at least 1';
    throw fail(`Expected ${expected} for ${origin.name}, got ${quoted(text)}`, RANGE_HINT, origin);
  }
  if (!multiplies && (last - first) / step >= MAX_AXIS_VALUES) throw tooMany(text, origin);
  const values = [];
  for (let value = first; value <= last; value = multiplies ? value * step : value + step) values.push(value);
  return values;
}

function parseCount(word: string, text: string, origin: ValueOrigin, max: number): number {
  const value = toCount(word);
  if (value < 1 || value > max) throw notACount(text, origin, max);
  return value;
}

/** Digits with an optional k; digits beyond the safe integers become a number that every limit refuses. */
function toCount(word: string): number {
  return /k$/i.test(word) ? Number(word.slice(0, -1)) * K : Number(word);
}

function parseDensity(term: string, text: string, origin: ValueOrigin): number {
  const fraction = /^(\d+)\/(\d+)$/.exec(term);
  const value = fraction ? Number(fraction[1]) / Number(fraction[2]) : Number(term);
  if (!(fraction || /^(\d+\.?\d*|\.\d+)$/.test(term)) || !(value > 0 && value <= 1)) {
    throw notADensity(text, origin);
  }
  return value;
}

function ascending(values: ReadonlySet<number>): number[] {
  return [...values].toSorted((a, b) => a - b);
}

function notACount(value: unknown, origin: ValueOrigin, max: number): PolarBenchError {
  const expected = `integers from 1 to ${max} or a range with a step`;
  return fail(`Expected ${expected} for ${origin.name}, got ${quoted(value)}`, RANGE_HINT, origin);
}

function notADensity(value: unknown, origin: ValueOrigin): PolarBenchError {
  return fail(`Expected densities in (0, 1] for ${origin.name}, got ${quoted(value)}`, DENSITY_HINT, origin);
}

function tooMany(text: string, origin: ValueOrigin): PolarBenchError {
  const message = `Expected at most ${MAX_AXIS_VALUES} values for ${origin.name}, got ${quoted(text)}`;
  return fail(message, RANGE_HINT, origin);
}

function fail(message: string, hint: string, origin: ValueOrigin): PolarBenchError {
  return origin.fromFile === true ? new ConfigError(message, { hint }) : new UsageError(message, { hint });
}

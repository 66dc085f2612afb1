import { Option } from 'commander';

import { UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { didYouMean } from '../core/nearest.js';

const envName = (name: string): string => `POLAR_BENCH_${name.toUpperCase().replaceAll('-', '_')}`;

/** An option `--flag <placeholder>` that the environment variable POLAR_BENCH_<FLAG> sets as well. */
export function flag(name: string, placeholder: string, description: string): Option {
  return new Option(`--${name} <${placeholder}>`, description).env(envName(name));
}

export function booleanFlag(name: string, description: string): Option {
  return new Option(`--${name}`, description).env(envName(name));
}

/** One of the known words. @throws UsageError with near matches */
export function oneOf<T extends string>(name: string, known: readonly T[], value: string): T {
  const found = known.find((word) => word === value);
  if (found !== undefined) return found;
  throw new UsageError(`Expected one of ${known.join(', ')} for --${name}, got ${quoted(value)}`, {
    hint: didYouMean(value, known),
  });
}

/** A list of known words separated by commas. @throws UsageError */
export function listOf<T extends string>(name: string, known: readonly T[], value: string): T[] {
  return [...new Set(value.split(',').map((word) => oneOf(name, known, word.trim())))];
}

export interface NumberLimits {
  readonly min: number;
  readonly max: number;
  /** The minimum itself is not allowed. */
  readonly exclusiveMin?: boolean;
  readonly integer?: boolean;
}

/** A decimal number within limits. @throws UsageError */
export function numberFlag(name: string, limits: NumberLimits, value: string): number {
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value.trim()) ? Number(value) : Number.NaN;
  const inRange =
    number <= limits.max && (limits.exclusiveMin === true ? number > limits.min : number >= limits.min);
  if (inRange && (limits.integer !== true || Number.isInteger(number))) return number;
  const kind = limits.integer === true ? 'an integer' : 'a number';
  const from = limits.exclusiveMin === true ? `above ${limits.min}` : `from ${limits.min}`;
  throw new UsageError(`Expected ${kind} ${from} to ${limits.max} for --${name}, got ${quoted(value)}`, {
    hint: `See \`polar-bench help\` for the meaning of --${name}.`,
  });
}

/** One machine's part of a sweep: `2/3` is the second of three. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** @throws UsageError */
export function parseShard(value: string): Shard {
  const match = /^(\d{1,6})\/(\d{1,6})$/.exec(value.trim());
  const index = Number(match?.[1]);
  const count = Number(match?.[2]);
  if (match !== null && index >= 1 && index <= count) return { index, count };
  throw new UsageError(`Expected I/N with 1 <= I <= N for --shard, got ${quoted(value)}`, {
    hint: 'The first of three machines measures --shard 1/3.',
  });
}

/** Native code gives a sign of life at least once a second; a machine that swaps needs more patience. */
const DEFAULT_HANG_S = 60;

/** `--hang-timeout`, in seconds. @throws UsageError */
export function hangSeconds(value: string | undefined): number {
  return value === undefined ? DEFAULT_HANG_S : numberFlag('hang-timeout', { min: 1, max: 86_400 }, value);
}

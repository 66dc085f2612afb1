import { UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { didYouMean } from '../core/nearest.js';
import { UNION_LAWS, UNION_SOURCES, type UnionLawKind, type UnionSource } from '../core/union.js';
import { parseDensities, parseRange } from '../plan/axes.js';
import { OPTION_LIMITS } from '../plan/schema.js';
import { FORMATS, type Format } from '../sinks/sink.js';
import { LAW_PARAMETER_RANGE } from '../theory/union.js';
import { DEFAULT_TRIALS } from '../traces/measure-union.js';
import { publishedUnionModels } from '../traces/published.js';
import { numberFlag, oneOf } from './flags.js';

/** The law is accurate to here; nobody decodes more sequences at once. */
export const MAX_UNION_BATCH = 1_000_000;
const DEFAULT_BATCHES = [1, 2, 4, 8, 16, 32, 64];
const MAX_TOKENS = 33_554_432;

/** Law parameters that were typed instead of fitted. */
export interface GivenLaw {
  readonly alpha: number;
  readonly beta: number;
  /** D; null: densities only */
  readonly neurons: number | null;
}

export interface UnionInvocation {
  /** Published curves; empty when a trace or parameters are given */
  readonly models: readonly string[];
  /** Nothing was named: every published curve, means only */
  readonly bare: boolean;
  readonly traces: readonly string[];
  readonly given: GivenLaw | null;
  readonly batchSizes: readonly number[];
  /** The batch sizes are defaults, so those that a short trace cannot hold are left out */
  readonly defaultBatches: boolean;
  readonly layers: readonly number[] | null;
  readonly source: UnionSource;
  readonly law: UnionLawKind;
  readonly writeTrace: string | null;
  readonly tokens: number;
  readonly correlation: number;
  readonly trials: number;
  readonly seed: number;
  readonly threads: number;
  readonly headDensity: number;
  readonly format: Format;
  readonly out: string | null;
  readonly quiet: boolean;
}

/** Layers count from 0: `0,3,8-15`. @throws UsageError */
export function parseLayers(text: string): number[] {
  const layers = new Set<number>();
  for (const term of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(term.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first) {
      throw new UsageError(`Expected layers such as 0,3,8-15 for --layers, got ${quoted(text)}`, {
        hint: 'Layers count from 0.',
      });
    }
    for (let layer = first; layer <= last; layer++) layers.add(layer);
  }
  return [...layers].toSorted((a, b) => a - b);
}

function names(value: unknown): string[] {
  if (value === undefined) return [];
  return (Array.isArray(value) ? (value as string[]) : String(value).split(',')).map((n) => n.trim());
}

function checkModels(models: readonly string[]): void {
  const known = publishedUnionModels();
  for (const name of models) {
    if (known.includes(name)) continue;
    throw new UsageError(`Expected a model with a published union curve for --model, got ${quoted(name)}`, {
      hint: `${didYouMean(name, known)} Measure another model with --trace FILE.`,
    });
  }
}

function givenLaw(o: Readonly<Record<string, string | undefined>>): GivenLaw | null {
  const { alpha, beta } = o;
  if (alpha === undefined && beta === undefined) return null;
  if (alpha === undefined || beta === undefined) {
    throw new UsageError('Expected both --alpha and --beta for the law, got one', {
      hint: 'The beta-binomial law has two parameters.',
    });
  }
  const range = LAW_PARAMETER_RANGE;
  const neurons = o['neurons'];
  return {
    alpha: numberFlag('alpha', range, alpha),
    beta: numberFlag('beta', range, beta),
    neurons:
      neurons === undefined ? null : numberFlag('neurons', { min: 1, max: 262_144, integer: true }, neurons),
  };
}

/** Which source the flags mean; a contradiction is an error, never a silent choice. */
function chooseSource(text: string | undefined, hasTrace: boolean, given: GivenLaw | null): UnionSource {
  const fallback = hasTrace ? 'trace' : given === null ? 'published' : 'law';
  const source = text === undefined ? fallback : oneOf('source', UNION_SOURCES, text);
  const impossible =
    (source === 'trace' && !hasTrace) ||
    (source === 'published' && (hasTrace || given !== null)) ||
    (given !== null && (hasTrace || source !== 'law'));
  if (impossible) {
    throw new UsageError(`Expected data for --source ${source}, got flags of another source`, {
      hint: 'trace needs --trace; published needs --model alone; law takes --model, --trace, or --alpha with --beta.',
    });
  }
  return source;
}

/** @throws UsageError */
export function unionInvocation(options: Readonly<Record<string, unknown>>): UnionInvocation {
  const o = options as Readonly<Record<string, string | undefined>>;
  const models = names(options['model']);
  const traces = names(options['trace']);
  if (models.length > 0 && traces.length > 0) {
    throw new UsageError('Expected either --model or --trace, got both', {
      hint: 'A trace carries its own model name.',
    });
  }
  checkModels(models);
  const given = givenLaw(o);
  const bare = models.length === 0 && traces.length === 0 && given === null;
  const integer = (name: string, key: string, min: number, max: number, fallback: number): number =>
    o[key] === undefined ? fallback : numberFlag(name, { min, max, integer: true }, o[key]);
  const headDensity = parseDensities(o['headDensity'] ?? '0.5', { name: '--head-density' });
  return {
    models: bare ? publishedUnionModels() : models,
    bare,
    traces,
    given,
    batchSizes:
      o['batch'] === undefined
        ? DEFAULT_BATCHES
        : parseRange(o['batch'], { name: '--batch' }, MAX_UNION_BATCH),
    defaultBatches: o['batch'] === undefined,
    layers: o['layers'] === undefined ? null : parseLayers(o['layers']),
    source: chooseSource(o['source'], traces.length > 0, given),
    law: o['law'] === undefined ? 'beta-binomial' : oneOf('law', UNION_LAWS, o['law']),
    writeTrace: o['writeTrace'] ?? null,
    tokens: integer('tokens', 'tokens', 1, MAX_TOKENS, 20_000),
    correlation:
      o['correlation'] === undefined ? 0 : numberFlag('correlation', { min: 0, max: 1 }, o['correlation']),
    trials: integer('trials', 'trials', 1, 1_000_000, DEFAULT_TRIALS),
    seed: integer('seed', 'seed', OPTION_LIMITS.seed.min, OPTION_LIMITS.seed.max, 1),
    threads: integer('threads', 'threads', OPTION_LIMITS.threads.min, OPTION_LIMITS.threads.max, 0),
    headDensity: headDensity[0] ?? 0.5,
    format: oneOf('format', FORMATS, o['format'] ?? 'table'),
    out: o['out'] ?? null,
    quiet: options['quiet'] === true,
  };
}

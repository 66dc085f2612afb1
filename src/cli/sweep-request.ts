import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import type { Command } from 'commander';

import { type BackendName, BACKENDS, CACHE_MODES, DTYPES, SCOPES, VARIANTS } from '../core/cell.js';
import { ConfigError, UsageError } from '../core/errors.js';
import { loadModel } from '../models/load.js';
import { parseDensities, parseRange } from '../plan/axes.js';
import { SWEEP_LIMITS } from '../plan/defaults.js';
import type { SweepRequest } from '../plan/expand.js';
import { OPTION_LIMITS, parseSweepConfig, type SweepConfig } from '../plan/schema.js';
import { type Format, FORMATS } from '../sinks/sink.js';
import { PRESETS } from './presets.js';
import { hangSeconds, listOf, numberFlag, oneOf, parseShard, type Shard } from './flags.js';

/** Everything that `sweep` was told, before a backend is chosen. */
export interface SweepInvocation {
  readonly request: Omit<SweepRequest, 'backend' | 'models'>;
  readonly models: readonly string[];
  /** Top-k table, file or folder */
  readonly mlpTopk: string | null;
  readonly backend: BackendName | 'auto';
  readonly format: Format;
  readonly out: string | null;
  readonly shard: Shard | null;
  /** Without a sign of life for this long a cell is E_HUNG */
  readonly hangSeconds: number;
  readonly dryRun: boolean;
  readonly quiet: boolean;
}

type Texts = Readonly<Record<string, string | undefined>>;

function readConfig(path: string): SweepConfig {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigError(`Expected a readable file for --config, got ${path}`, {
      hint: cause instanceof Error ? cause.message : 'Check the path.',
      cause,
    });
  }
  return parseSweepConfig(content, path);
}

function presetConfig(name: string): SweepConfig {
  const preset = oneOf('preset', PRESETS, name);
  return readConfig(fileURLToPath(new URL(`../../configs/sweeps/${preset}.json`, import.meta.url)));
}

const integer = (limits: { min: number; max: number }) => ({ ...limits, integer: true });
const positive = (limits: { min: number; max: number }) => ({ ...limits, exclusiveMin: true });

/** What flags and environment say, in the vocabulary of a configuration file. Absent: not said. */
function configOfFlags(o: Texts): SweepConfig {
  const said = <T>(value: string | undefined, parse: (text: string) => T): T | undefined =>
    value === undefined ? undefined : parse(value);
  const number = (name: string, value: string | undefined, limits: Parameters<typeof numberFlag>[1]) =>
    said(value, (text) => numberFlag(name, limits, text));
  const values = {
    batchSizes: said(o['batch'], (t) => parseRange(t, { name: '--batch' }, SWEEP_LIMITS.maxBatchSize)),
    kvLens: said(o['seq'], (t) => parseRange(t, { name: '--seq' }, SWEEP_LIMITS.maxKvLen)),
    variants: said(o['variant'], (t) => listOf('variant', VARIANTS, t)),
    scopes: said(o['scope'], (t) => listOf('scope', SCOPES, t)),
    headDensities: said(o['headDensity'], (t) => parseDensities(t, { name: '--head-density' })),
    mlpDensities: said(o['mlpDensity'], (t) =>
      t === 'union' ? ('union' as const) : parseDensities(t, { name: '--mlp-density' }),
    ),
    mlpTopk: said(o['mlpTopk'], (t) => t),
    backend: said(o['backend'], (t) => oneOf('backend', ['auto', ...BACKENDS], t)),
    device: number('device', o['device'], integer(OPTION_LIMITS.device)),
    dtype: said(o['dtype'], (t) => oneOf('dtype', DTYPES, t)),
    seed: number('seed', o['seed'], integer(OPTION_LIMITS.seed)),
    threads: number('threads', o['threads'], integer(OPTION_LIMITS.threads)),
    minSamples: number('min-samples', o['minSamples'], integer(OPTION_LIMITS.minSamples)),
    maxNoisePercent: number('max-noise', o['maxNoise'], positive(OPTION_LIMITS.maxNoisePercent)),
    maxTimeS: number('max-time', o['maxTime'], positive(OPTION_LIMITS.maxTimeS)),
    warmup: number('warmup', o['warmup'], integer(OPTION_LIMITS.warmup)),
    cacheMode: said(o['cache'], (t) => oneOf('cache', CACHE_MODES, t)),
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/**
 * Merges preset, configuration file, environment and flags, later ones winning.
 * @throws UsageError, ConfigError
 */
export function sweepInvocation(
  options: Readonly<Record<string, unknown>>,
  command: Command,
): SweepInvocation {
  const texts = options as Texts;
  const files = {
    ...(texts['preset'] === undefined ? {} : presetConfig(texts['preset'])),
    ...(texts['config'] === undefined ? {} : readConfig(texts['config'])),
  };
  const breakdown = options['breakdown'] === true ? { breakdown: true } : {};
  const merged: SweepConfig = { ...files, ...configOfFlags(texts), ...breakdown };
  const named = options['model'] as string[] | string | undefined;
  const models = typeof named === 'string' ? named.split(',') : (named ?? merged.models ?? []);
  if (models.length === 0) {
    throw new UsageError('Expected at least one model for --model, got none', {
      hint: `Try \`polar-bench ${command.name()} --model llama-3-8b\`, or list them with \`polar-bench models\`.`,
    });
  }
  const { models: _models, backend, mlpTopk, ...request } = merged;
  return {
    request,
    models,
    mlpTopk: mlpTopk ?? null,
    backend: backend ?? 'auto',
    format: oneOf('format', FORMATS, texts['format'] ?? 'table'),
    out: texts['out'] ?? null,
    shard: texts['shard'] === undefined ? null : parseShard(texts['shard']),
    hangSeconds: hangSeconds(texts['hangTimeout']),
    dryRun: options['dryRun'] === true,
    quiet: options['quiet'] === true,
  };
}

export function loadModels(names: readonly string[]): SweepRequest['models'] {
  return names.map((name) => loadModel(name));
}

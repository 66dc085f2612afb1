import type { Claim } from '../claims/schema.js';
import { type BackendName, BACKENDS } from '../core/cell.js';
import { CLAIM_SCALES, type ClaimScale } from '../core/claim.js';
import { OPTION_LIMITS } from '../plan/schema.js';
import { chosenClaims } from './claims-file.js';
import { deviceSpecList } from './device-specs.js';
import { hangSeconds, numberFlag, oneOf } from './flags.js';

export const CLAIM_FORMATS = ['table', 'csv', 'json'] as const;
export type ClaimFormat = (typeof CLAIM_FORMATS)[number];

export interface ReproduceInvocation {
  readonly claims: readonly Claim[];
  readonly backend: BackendName | 'auto';
  readonly device: number;
  /** null: by the backend */
  readonly scale: ClaimScale | null;
  readonly threads: number | null;
  readonly maxTimeS: number | null;
  /** Names in configs/devices */
  readonly deviceSpecs: readonly string[];
  readonly out: string | null;
  readonly format: ClaimFormat;
  readonly hangSeconds: number;
  readonly dryRun: boolean;
}

export type Options = Readonly<Record<string, unknown>>;

export function textOf(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

/** Everything that `reproduce` was told. @throws UsageError */
export function reproduceInvocation(names: readonly string[], options: Options): ReproduceInvocation {
  const text = (name: string): string | undefined => textOf(options, name);
  const number = (flag: string, name: string, limits: { min: number; max: number }, whole: boolean) => {
    const value = text(name);
    if (value === undefined) return null;
    return numberFlag(flag, { ...limits, integer: whole, exclusiveMin: !whole }, value);
  };
  const scale = text('scale');
  return {
    claims: chosenClaims(names),
    backend: oneOf('backend', ['auto', ...BACKENDS], text('backend') ?? 'auto'),
    device: number('device', 'device', OPTION_LIMITS.device, true) ?? 0,
    scale: scale === undefined ? null : oneOf('scale', CLAIM_SCALES, scale),
    threads: number('threads', 'threads', OPTION_LIMITS.threads, true),
    maxTimeS: number('max-time', 'maxTime', OPTION_LIMITS.maxTimeS, false),
    deviceSpecs: deviceSpecList(text('deviceSpec')),
    out: text('out') ?? null,
    format: oneOf('format', CLAIM_FORMATS, text('format') ?? 'table'),
    hangSeconds: hangSeconds(text('hangTimeout')),
    dryRun: options['dryRun'] === true,
  };
}

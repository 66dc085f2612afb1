import type { Ceilings, DeviceFacts } from '../../core/environment.js';
import { InternalError } from '../../core/errors.js';
import {
  type CandidateOutcome,
  type Outcome,
  type Status,
  STATUSES,
  type StopReason,
  STOPS,
} from '../../core/outcome.js';
import type { BackendName } from '../../core/cell.js';
import type { NativeCandidateResult, NativeCellResult, NativeFacts } from './addon.js';

/** Samples by round; a round without one (discarded, or taken by a candidate that failed later) is null. */
function byRound(result: NativeCandidateResult, values: Float64Array, rounds: number): (number | null)[] {
  const list: (number | null)[] = Array.from({ length: rounds }, () => null);
  result.rounds.forEach((round, i) => {
    const value = values[i];
    list[round] = value === undefined || Number.isNaN(value) ? null : value;
  });
  return list;
}

/** A count that native code reports as 0 where there is none. */
const countOrNull = (count: number | undefined): number | null =>
  count === undefined || count === 0 ? null : count;

function toOutcome(result: NativeCandidateResult, rounds: number): CandidateOutcome {
  const status: Status | undefined = STATUSES[result.status];
  const { warnings } = result;
  if (status === 'ok') {
    if (result.verification === null) throw new InternalError('A backend reported ok without a verification');
    return {
      status,
      verification: result.verification,
      samplesNs: byRound(result, result.samplesNs, rounds),
      clockMhz: byRound(result, result.clockMhz, rounds),
      runsPerSample: result.timing?.runsPerSample ?? 0,
      rotationCopies: result.timing?.rotationCopies ?? 0,
      samplesDiscarded: result.timing?.samplesDiscarded ?? 0,
      energyMj: result.timing?.energyMj ?? null,
      residentLayers: countOrNull(result.timing?.residentLayers),
      parts: result.parts.length === 0 ? null : result.parts.map(({ name, ns }) => ({ name, ns })),
      warnings,
    };
  }
  if (status === 'incorrect' && result.verification !== null) {
    return { status, reason: result.reason, verification: result.verification, warnings };
  }
  if (status === 'failed' || status === 'skipped') {
    return { status, code: result.code === '' ? null : result.code, reason: result.reason, warnings };
  }
  throw new InternalError(`Expected a status for a candidate, got ${result.status}`);
}

/** What native code reported, in the vocabulary of core/. */
export function cellOutcome(result: NativeCellResult): Outcome {
  const rounds = Math.max(0, ...result.candidates.map((c) => (c.rounds.at(-1) ?? -1) + 1));
  const stop: StopReason | undefined = STOPS[result.stop];
  if (stop === undefined) throw new InternalError(`Expected a stop reason, got ${result.stop}`);
  return {
    candidates: result.candidates.map((c) => toOutcome(c, rounds)),
    stop,
    warnings: result.warnings,
  };
}

function requiredNumber(facts: NativeFacts, name: string): number {
  const value = facts[name];
  if (typeof value !== 'number')
    throw new InternalError(`Expected the fact ${name} from the backend, got none`);
  return value;
}

function known(facts: NativeFacts): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(facts).filter((entry): entry is [string, string | number] => entry[1] !== null),
  );
}

export function deviceFacts(backend: BackendName, device: number, facts: NativeFacts): DeviceFacts {
  const name = facts['name'];
  const driver = facts['driver_version'];
  return {
    backend,
    device,
    name: typeof name === 'string' ? name : 'unknown',
    driverVersion: typeof driver === 'string' ? driver : null,
    lastLevelCacheBytes: requiredNumber(facts, 'last_level_cache_bytes'),
    totalMemoryBytes: requiredNumber(facts, 'total_memory_bytes'),
    freeMemoryBytes: requiredNumber(facts, 'free_memory_bytes'),
    details: known(facts),
  };
}

export function ceilings(facts: NativeFacts): Ceilings {
  return {
    readGbPerS: requiredNumber(facts, 'read_gb_per_s'),
    matrixTflopPerS: requiredNumber(facts, 'matrix_tflop_per_s'),
    details: known(facts),
  };
}

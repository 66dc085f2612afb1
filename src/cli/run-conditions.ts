import { readFileSync } from 'node:fs';

/** What is looked at of env.json; every value may be anything. */
interface StoredEnvironment {
  /** In a merged folder: the env.json of each shard */
  readonly shards?: unknown;
  readonly aa_spread?: { readonly relative_spread?: unknown } | null;
  readonly backend?: unknown;
  readonly threads?: unknown;
  readonly host?: { readonly cpu_count?: unknown } | null;
}

/** What env.json says of how a run was measured, beyond what its rows say. */
export interface RunConditions {
  /** CPU threads; null where the file does not say, and for other backends, where they change nothing */
  readonly threads: string | null;
  /** Half-width of the A/A interval, 0.003 = 0.3 %; null where there is none */
  readonly aaSpread: number | null;
  readonly warning: string | null;
}

const UNKNOWN: RunConditions = { threads: null, aaSpread: null, warning: null };

/** 0 threads are all that there are. */
function threadsOf({ backend, threads, host }: StoredEnvironment): string | null {
  if (backend !== 'cpu' || typeof threads !== 'number') return null;
  if (threads !== 0) return String(threads);
  return typeof host?.cpu_count === 'number' ? String(host.cpu_count) : 'all';
}

/** Half-widths of a run and of the shards that it was merged of. */
function spreadsOf(document: StoredEnvironment): number[] {
  const shards = Array.isArray(document.shards) ? (document.shards as StoredEnvironment[]) : [];
  return [document, ...shards]
    .map((run) => run.aa_spread?.relative_spread)
    .filter((spread) => typeof spread === 'number');
}

/** @param path of env.json, of any version; what cannot be read is a warning and never an error */
export function runConditions(path: string): RunConditions {
  let threads: string | null;
  let spreads: number[];
  try {
    const document = JSON.parse(readFileSync(path, 'utf8')) as StoredEnvironment;
    threads = threadsOf(document);
    spreads = spreadsOf(document);
  } catch {
    return { ...UNKNOWN, warning: `${path} is not JSON: the A/A spread of this run is unknown` };
  }
  if (spreads.length === 0) return { ...UNKNOWN, threads };
  // Beyond 1 nothing would ever be a regression: that is no noise of an instrument.
  const odd = spreads.find((spread) => !(spread >= 0 && spread < 1));
  if (odd === undefined) return { threads, aaSpread: Math.max(...spreads), warning: null };
  return { ...UNKNOWN, threads, warning: `${path}: an A/A spread of ${odd} cannot be and is not used` };
}

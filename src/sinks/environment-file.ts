import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { UsageError } from '../core/errors.js';

const facts = z.record(z.string(), z.union([z.number(), z.string(), z.null()]));

/** What resuming and merging need of env.json; everything else in it passes through. */
const schema = z.looseObject({
  run_id: z.string(),
  started_at: z.string(),
  argv: z.array(z.string()),
  polar_bench_version: z.string(),
  git_commit: z.string().nullable(),
  backend: z.string(),
  device: facts,
  device_index: z.number(),
  host: z.looseObject({ cpu: z.string().nullable() }),
  ceilings: facts,
  ceilings_after: facts.nullable(),
  /** One entry for each time that the sweep went on */
  resumed: z.array(z.looseObject({ ceilings: facts })).optional(),
  aa_spread: z.unknown(),
});

export type EnvironmentFile = z.infer<typeof schema>;

/** The fields that make numbers comparable, as one flat list of names and values. */
function conditions(e: EnvironmentFile): Record<string, string> {
  const values = {
    backend: e.backend,
    device: e.device['name'],
    driver_version: e.device['driver_version'],
    cpu: e.host.cpu,
    // Threads of the CPU backend are all that there are, unless somebody says otherwise.
    cpu_count: e.backend === 'cpu' ? e.host['cpu_count'] : null,
    polar_bench_version: e.polar_bench_version,
    git_commit: e.git_commit,
  };
  return Object.fromEntries(Object.entries(values).map(([name, v]) => [name, String(v ?? 'none')]));
}

/** "device: NVIDIA H200 instead of NVIDIA A100" for every condition that two runs do not share. */
export function environmentDifferences(stored: EnvironmentFile, current: unknown): string[] {
  const [before, now] = [conditions(stored), conditions(schema.parse(current))];
  return Object.keys(before).flatMap((name) =>
    before[name] === now[name] ? [] : [`${name}: ${now[name]} instead of ${before[name]}`],
  );
}

/**
 * @param path of env.json
 * @param name the folder as the user wrote it, for messages
 * @returns null when there is none: the run was ended before anything was measured
 * @throws UsageError when it is not one of this version
 */
export function readEnvironment(path: string, name: string): EnvironmentFile | null {
  if (!existsSync(path)) return null;
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    const why = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 200);
    throw new UsageError(`Expected a result folder of a sweep for ${name}, got no usable env.json (${why})`, {
      hint: 'Name a folder that a sweep of this version has written.',
      cause,
    });
  }
}

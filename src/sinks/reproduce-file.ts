import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CLAIM_SCALES, type ClaimScale } from '../core/claim.js';
import { UsageError } from '../core/errors.js';
import { CLAIM_FILES } from './claim-files.js';
import { replaceFile } from './durable.js';
import { jsonDocument } from './json.js';

/** What `reproduce` was asked for, beyond the plan: reproduce.json. */
export interface ReproduceRequest {
  /** Ids, in the order of their verdicts */
  readonly claims: readonly string[];
  readonly scale: ClaimScale;
  readonly threads: number | null;
  readonly maxTimeS: number | null;
  /** Names of configs/devices whose polar maps are predicted */
  readonly deviceSpecs: readonly string[];
}

const schema = z.strictObject({
  schema_version: z.literal(1),
  claims: z.array(z.string()),
  scale: z.enum(CLAIM_SCALES),
  threads: z.number().nullable(),
  max_time_s: z.number().nullable(),
  device_specs: z.array(z.string()),
});

export function writeReproduceRequest(folder: string, request: ReproduceRequest): void {
  const document: z.infer<typeof schema> = {
    schema_version: 1,
    claims: [...request.claims],
    scale: request.scale,
    threads: request.threads,
    max_time_s: request.maxTimeS,
    device_specs: [...request.deviceSpecs],
  };
  replaceFile(join(folder, CLAIM_FILES.request), jsonDocument(document));
}

/**
 * @param folder path
 * @param name as the user wrote it, for messages
 * @throws UsageError when `reproduce` did not make the folder
 */
export function readReproduceRequest(folder: string, name: string): ReproduceRequest {
  try {
    const file = schema.parse(JSON.parse(readFileSync(join(folder, CLAIM_FILES.request), 'utf8')));
    const { claims, scale, threads } = file;
    return { claims, scale, threads, maxTimeS: file.max_time_s, deviceSpecs: file.device_specs };
  } catch (cause) {
    const why = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').slice(0, 200);
    throw new UsageError(
      `Expected a folder of \`reproduce\` for ${name}, got no usable ${CLAIM_FILES.request} (${why})`,
      {
        hint: 'Name a folder that `polar-bench reproduce` has written; a sweep goes on with `sweep --resume`.',
        cause,
      },
    );
  }
}

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { type Claim, parseClaims } from '../claims/schema.js';
import { UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import { didYouMean } from '../core/nearest.js';

/** configs/paper of the package: two levels up from src/cli and from dist/cli alike. */
const PAPER_FOLDER = new URL('../../configs/paper/', import.meta.url);

const read = (name: string): string => readFileSync(fileURLToPath(new URL(name, PAPER_FOLDER)), 'utf8');

/** All claims of the paper. @throws ConfigError when the shipped files are broken */
export function allClaims(): Claim[] {
  return parseClaims(read('claims.json'), read('figures.json'), 'configs/paper/claims.json');
}

/**
 * The claims that were named, in the order of the file; all of them when none was.
 * A name stands for its sub-claims too: `fig4a` is fig4a and fig4a-gather.
 *
 * @throws UsageError with near matches
 */
export function chosenClaims(names: readonly string[]): Claim[] {
  const claims = allClaims();
  const ids = claims.map((c) => c.id);
  const matches = (id: string, name: string): boolean => id === name || id.startsWith(`${name}-`);
  for (const name of names) {
    if (ids.some((id) => matches(id, name))) continue;
    throw new UsageError(`Expected a claim of the paper, got ${quoted(name)}`, {
      hint: didYouMean(name, ids),
    });
  }
  return names.length === 0 ? claims : claims.filter((c) => names.some((name) => matches(c.id, name)));
}

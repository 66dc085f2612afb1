import { z } from 'zod';

/** Upper limits of what a model file may claim: far above every published model, far below overflow. */
export const MODEL_LIMITS = {
  numLayers: 4096,
  heads: 16_384,
  headDim: 256,
  hiddenSize: 262_144,
  intermediateSize: 4_194_304,
  vocabSize: 16_777_216,
  kvLen: 1_048_576,
  ropeTheta: 1e12,
} as const;

/** A schema of numbers above 0 and at most `max` whose every issue says so. */
export function positive(max: number): z.ZodNumber {
  const expected = `a number above 0 and at most ${max}`;
  return z.number(expected).gt(0, expected).max(max, expected);
}

/** Longest model name that is kept; names come from untrusted files and end up in tables. */
export const MAX_NAME_CHARS = 100;

/** A schema of integers from 1 to `max` whose every issue says so. */
export function count(max: number): z.ZodNumber {
  const expected = `an integer from 1 to ${max}`;
  return z.number(expected).int(expected).min(1, expected).max(max, expected);
}

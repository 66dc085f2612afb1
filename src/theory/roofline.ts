import type { Ceilings } from '../core/environment.js';
import { InternalError } from '../core/errors.js';
import { BYTES_PER_GB, FLOP_PER_TFLOP } from '../core/units.js';
import type { Traffic } from './traffic.js';

const US_PER_S = 1e6;

/** The time below which no kernel can be, on this device. */
export interface Bound {
  /** max(memoryUs, matrixUs) */
  readonly boundUs: number;
  /** bytes / read ceiling */
  readonly memoryUs: number;
  /** FLOPs / matrix ceiling */
  readonly matrixUs: number;
  /** Which side is the larger; `memory` where both are equal. */
  readonly limitedBy: 'memory' | 'matrix';
}

/**
 * Roofline bound of an operation in microseconds (Williams et al., 2009), with ceilings that were measured.
 * @param traffic bytes and FLOPs of the operation
 * @param ceilings 10^9 bytes per second and 10^12 FLOPs per second, both > 0
 * @throws InternalError for ceilings that are not positive and finite: they would make every share flattering
 */
export function boundOf(
  traffic: Pick<Traffic, 'bytesMoved' | 'flops'>,
  ceilings: Pick<Ceilings, 'readGbPerS' | 'matrixTflopPerS'>,
): Bound {
  for (const value of [ceilings.readGbPerS, ceilings.matrixTflopPerS]) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new InternalError(`Expected a positive ceiling for the bound, got ${value}`);
    }
  }
  const memoryUs = (traffic.bytesMoved / (ceilings.readGbPerS * BYTES_PER_GB)) * US_PER_S;
  const matrixUs = (traffic.flops / (ceilings.matrixTflopPerS * FLOP_PER_TFLOP)) * US_PER_S;
  const limitedBy = memoryUs >= matrixUs ? 'memory' : 'matrix';
  return { boundUs: Math.max(memoryUs, matrixUs), memoryUs, matrixUs, limitedBy };
}

/** Conversions; internal time is nanoseconds, rows carry microseconds, people read what fits. */
export const NS_PER_US = 1_000;
export const NS_PER_S = 1_000_000_000;
export const BYTES_PER_GB = 1e9;
export const FLOP_PER_TFLOP = 1e12;

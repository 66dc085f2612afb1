/** Numbers as people read them. */

export const NOT_AVAILABLE = '-';

/** Three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1234. */
export function threeDigits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

const LATENCY_UNITS: readonly (readonly [fromUs: number, unit: string])[] = [
  [1e6, 's'],
  [1e3, 'ms'],
  [1, 'us'],
];

/** Microseconds in the unit that people read best: `950 us`, `1.20 ms`, `2.00 s`. */
export function formatLatency(us: number): string {
  const [scale, unit] = LATENCY_UNITS.find(([from]) => us >= from) ?? [1e-3, 'ns'];
  return `${threeDigits(us / scale)} ${unit}`;
}

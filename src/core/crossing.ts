/**
 * Where a series first rises to 1, interpolated in the logarithms of both axes.
 *
 * @param series ascending in x, values > 0
 * @returns null where it never does: it stays below, or starts above
 */
export function crossingOf(series: readonly { readonly x: number; readonly value: number }[]): number | null {
  for (const [i, point] of series.entries()) {
    const before = series[i - 1];
    if (before === undefined || before.value >= 1 || point.value < 1) continue;
    const share = -Math.log(before.value) / (Math.log(point.value) - Math.log(before.value));
    return before.x * (point.x / before.x) ** share;
  }
  return null;
}

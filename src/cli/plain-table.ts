/** A table of texts with lines only around the head: what the listing commands print. */
export async function plainTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const none = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };
  const table = new Table({ head: [...head], style: { head: [], border: [] }, chars: none });
  table.push(...rows.map((row) => [...row]));
  // Without inner lines the head needs its own: the first data row gets one above it.
  const lines = table.toString().split('\n');
  const rule = (lines[0] ?? '').replaceAll('┌', '├').replaceAll('┬', '┼').replaceAll('┐', '┤');
  return [...lines.slice(0, 2), rule, ...lines.slice(2)].join('\n') + '\n';
}

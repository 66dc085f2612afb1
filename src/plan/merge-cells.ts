import { type Candidate, type Cell, cellKey } from '../core/cell.js';

const candidateKey = (c: Candidate): string =>
  `${c.kernel}:${c.activeHeads ?? '-'}:${c.activeNeurons ?? '-'}`;

/** The candidates of both, each once; a density that a model or a curve gave says more than one that was typed. */
function joined(known: readonly Candidate[], more: readonly Candidate[]): Candidate[] {
  const all = new Map(known.map((c) => [candidateKey(c), c]));
  for (const candidate of more) {
    const before = all.get(candidateKey(candidate));
    if (before === undefined || before.densitySource === 'flag') all.set(candidateKey(candidate), candidate);
  }
  return [...all.values()];
}

/**
 * The union of several plans' cells: cells of one problem become one cell with the candidates of all of them, so that
 * nothing is measured twice and everything that is compared is sampled in the same rounds.
 *
 * @param cells of one device, dtype, cache mode and seed or of several: those stay apart
 * @returns in the order in which the problems first occur
 */
export function mergeCells(cells: readonly Cell[]): Cell[] {
  const problems = new Map<string, Omit<Cell, 'key'>>();
  for (const { key: _key, ...cell } of cells) {
    const problem = cellKey({ ...cell, candidates: [] });
    const known = problems.get(problem);
    problems.set(
      problem,
      known === undefined ? cell : { ...known, candidates: joined(known.candidates, cell.candidates) },
    );
  }
  return [...problems.values()].map((cell) => ({ key: cellKey(cell), ...cell }));
}

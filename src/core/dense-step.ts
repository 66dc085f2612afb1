import type { Candidate } from './cell.js';
import type { CandidateOutcome, StepPart } from './outcome.js';

const BEGINNING = 'the dense step spent';

/** Shares below this are what two measurements of the same kernels differ by. */
const LEAST_EXCESS = 0.03;

/** The work of these parts is the same in every variant; a router beside them can only make the others slower. */
const COMMON_PARTS = ['qkv', 'out-proj'];

/** Parts that a dense step has in common with another candidate of its cell. */
function commonParts(dense: Candidate, other: Candidate): readonly string[] {
  const heads = dense.activeHeads === other.activeHeads ? ['attention'] : [];
  const neurons =
    dense.activeNeurons === other.activeNeurons && other.layerActiveNeurons === null ? ['mlp'] : [];
  return [...COMMON_PARTS, ...heads, ...neurons];
}

const partsOf = (outcome: CandidateOutcome | undefined): readonly StepPart[] =>
  outcome?.status === 'ok' ? (outcome.parts ?? []) : [];

/**
 * Whether the dense step of a cell took longer for parts that another variant has too: then a faster dense step exists, and
 * speedups over the measured one are too high.
 * @param candidates of one cell of scope step
 * @param outcomes in their order
 * @returns a sentence for the rows of the cell; null where there is no dense step, no breakdown, or nothing to say
 */
export function slowDenseStep(
  candidates: readonly Candidate[],
  outcomes: readonly (CandidateOutcome | undefined)[],
): string | null {
  const index = candidates.findIndex((c) => c.variant === 'dense');
  const dense = candidates[index];
  const parts = partsOf(outcomes[index]);
  if (dense === undefined || parts.length === 0) return null;
  const step = parts.reduce((sum, part) => sum + part.ns, 0);
  let most = { share: 0, kernel: '', names: [''] };
  candidates.forEach((other, i) => {
    if (i === index) return;
    const theirs = new Map(partsOf(outcomes[i]).map((part) => [part.name, part.ns]));
    const slower = parts
      .filter((part) => commonParts(dense, other).includes(part.name))
      .map((part) => ({ name: part.name, ns: part.ns - (theirs.get(part.name) ?? part.ns) }))
      .filter((part) => part.ns > 0)
      .toSorted((a, b) => b.ns - a.ns);
    const share = slower.reduce((sum, part) => sum + part.ns, 0) / step;
    if (share > most.share) most = { share, kernel: other.kernel, names: slower.map((part) => part.name) };
  });
  if (most.share <= LEAST_EXCESS) return null;
  const percent = (100 * most.share).toFixed(1);
  return `${BEGINNING} ${percent} % of its time on ${most.names.join(', ')} beyond what ${most.kernel} took for the same: speedups over it may be too high by as much`;
}

/** The sentence of slowDenseStep among the warnings of a row; null where there is none. */
export function slowDenseNote(warnings: string | null): string | null {
  return warnings?.split('; ').find((text) => text.startsWith(BEGINNING)) ?? null;
}

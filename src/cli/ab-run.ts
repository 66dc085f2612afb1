import type { Backend } from '../backends/backend.js';
import { type Candidate, type Cell, cellKey } from '../core/cell.js';
import type { CandidateOutcome } from '../core/outcome.js';
import type { SweepPlan } from '../core/plan.js';
import type { Pair, PairedCell } from '../gate/paired.js';
import { median } from '../stats/quantiles.js';

/** Two builds, each with its own measuring process. */
export interface Sides {
  readonly base: Backend;
  readonly head: Backend;
}

/** One kernel in one cell: what the gate judges. */
export interface AbCandidate {
  readonly cell: Cell;
  readonly candidate: Candidate;
  readonly title: string;
  readonly pairs: Pair[];
  baseReason: string | null;
  headReason: string | null;
  /** Head's output was wrong */
  incorrect: boolean;
}

function titleOf(cell: Cell, candidate: Candidate): string {
  const kv = cell.kvLen === null ? '' : ` N=${cell.kvLen}`;
  const heads = candidate.activeHeads === null ? '' : ` heads=${candidate.activeHeads}`;
  const neurons = candidate.activeNeurons === null ? '' : ` neurons=${candidate.activeNeurons}`;
  const density = candidate.variant === 'dense' ? '' : `${heads}${neurons}`;
  return `${cell.model.name} ${candidate.kernel} B=${cell.batchSize}${kv}${density}`;
}

/** Every kernel of a plan; those that one build does not have are decided before anything is measured. */
export async function abCandidates(plan: SweepPlan, sides: Sides): Promise<AbCandidate[]> {
  const [base, head] = [await sides.base.listKernels(), await sides.head.listKernels()];
  const reason = (kernels: readonly string[], kernel: string): string | null =>
    kernels.includes(kernel) ? null : 'this build has no such kernel';
  return plan.cells.flatMap((cell) =>
    cell.candidates.map((candidate) => ({
      cell,
      candidate,
      title: titleOf(cell, candidate),
      pairs: [],
      baseReason: reason(base, candidate.kernel),
      headReason: reason(head, candidate.kernel),
      incorrect: false,
    })),
  );
}

const isOpen = (c: AbCandidate): boolean => c.baseReason === null && c.headReason === null;

/** Median in microseconds, or why there is none. */
function resultOf(outcome: CandidateOutcome | undefined): number | string {
  if (outcome === undefined) return 'the build gave no result';
  if (outcome.status !== 'ok') return `${outcome.status}: ${outcome.reason}`;
  const samples = outcome.samplesNs.filter((ns) => ns !== null);
  return samples.length === 0 ? 'every sample was taken while throttled' : median(samples) / 1000;
}

/** Both builds measure one cell, one right after the other. A kernel that fails on a side is not measured again. */
async function measurePair(
  members: readonly AbCandidate[],
  headFirst: boolean,
  sides: Sides,
  plan: SweepPlan,
  signal: AbortSignal,
): Promise<void> {
  const open = members.filter(isOpen);
  const [first] = open;
  if (first === undefined) return;
  const withOpen = { ...first.cell, candidates: open.map((c) => c.candidate) };
  const cell = { ...withOpen, key: cellKey(withOpen) };
  const measure = async (backend: Backend): Promise<readonly CandidateOutcome[]> =>
    (await backend.measure({ cell, sampling: plan.sampling, threads: plan.threads, breakdown: false }))
      .candidates;
  const early = await measure(headFirst ? sides.head : sides.base);
  // An abort has killed the processes: what they answered is no result, and no new ones may start.
  if (signal.aborted) return;
  const late = await measure(headFirst ? sides.base : sides.head);
  if (signal.aborted) return;
  const [base, head] = headFirst ? [late, early] : [early, late];
  open.forEach((member, i) => {
    const [baseUs, headUs] = [resultOf(base[i]), resultOf(head[i])];
    if (typeof baseUs === 'number' && typeof headUs === 'number') member.pairs.push({ baseUs, headUs });
    if (typeof baseUs === 'string') member.baseReason = baseUs;
    if (typeof headUs === 'string') member.headReason = headUs;
    member.incorrect ||= head[i]?.status === 'incorrect';
  });
}

/**
 * Measures rounds of all cells in ABBA order: base first, then head first, ... so that what drifts or slows the second
 * of a pair cancels. Rounds go over all cells before the next begins: a disturbance costs each cell one round at most.
 * Every round has new processes: where the memory of a process happens to lie makes small kernels some per cent slower
 * or faster for its whole life, and rounds that share a process would all repeat that as if it were a finding.
 *
 * @param onPair called after every pair with the count of pairs so far and of all
 */
export async function measureRounds(
  candidates: readonly AbCandidate[],
  rounds: number,
  sides: Sides,
  plan: SweepPlan,
  signal: AbortSignal,
  onPair: (done: number, total: number) => void,
): Promise<void> {
  const cells = new Map<Cell, AbCandidate[]>();
  for (const c of candidates) cells.set(c.cell, [...(cells.get(c.cell) ?? []), c]);
  let done = 0;
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all([sides.base.close(), sides.head.close()]);
    for (const members of cells.values()) {
      if (signal.aborted) return;
      await measurePair(members, round % 2 === 1, sides, plan, signal);
      done += 1;
      onPair(done, rounds * cells.size);
    }
  }
}

/** What the gate judges of a candidate. */
export function pairedCell({ title, pairs, baseReason, headReason }: AbCandidate): PairedCell {
  return { title, pairs, baseReason, headReason };
}

import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { GateVerdict } from '../core/verdict.js';
import { medianInterval, streamSeed } from '../stats/bootstrap.js';
import { median } from '../stats/quantiles.js';
import { confirm, judgePaired, PAIRED_ROUNDS, PAIRED_THRESHOLD, type Pair } from './paired.js';
import { judgeStored, STORED_THRESHOLD, type StoredCell, type StoredRun } from './stored.js';

/** What makes a latency differ when nothing changed: relative standard deviations, 0.01 = 1 %. */
export const NOISE = {
  /** Of each sample, independent */
  sample: 0.005,
  /** Share of the samples that something else slows down, and by how much */
  outlierShare: 0.02,
  outlierLow: 0.05,
  outlierHigh: 0.2,
  /** Of a whole session: another boot, another place in memory */
  session: 0.01,
  /** AR(1) over the samples of a session, standard deviation and correlation of neighbours */
  drift: 0.01,
  driftCorrelation: 0.98,
  /** Of each measuring process, by where its memory lies; `ab` starts two in every round */
  process: 0.01,
  /** The second of a pair is slower by this */
  secondOfPair: 0.003,
} as const;

/** One session of a noisy machine. */
class Session {
  private readonly offset: number;
  private drift: number;

  constructor(private readonly random: RandomGenerator) {
    this.offset = NOISE.session * this.normal();
    this.drift = NOISE.drift * this.normal();
  }

  /** One sample of a kernel that takes `trueUs`. */
  sample(trueUs: number): number {
    const rho = NOISE.driftCorrelation;
    this.drift = rho * this.drift + Math.sqrt(1 - rho * rho) * NOISE.drift * this.normal();
    const slow = NOISE.outlierLow + (NOISE.outlierHigh - NOISE.outlierLow) * uniformFloat64(this.random);
    const disturbed = uniformFloat64(this.random) < NOISE.outlierShare ? 1 + slow : 1;
    return trueUs * Math.exp(this.offset + this.drift + NOISE.sample * this.normal()) * disturbed;
  }

  /** What one process is slower by than another. */
  processFactor(): number {
    return Math.exp(NOISE.process * this.normal());
  }

  samples(trueUs: number, count: number): number[] {
    return Array.from({ length: count }, () => this.sample(trueUs));
  }

  /** Standard normal, by Box and Muller. */
  private normal(): number {
    const u = 1 - uniformFloat64(this.random);
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * uniformFloat64(this.random));
  }
}

export interface SimulatedSet {
  readonly cells: number;
  /** The first so many cells of head are slower */
  readonly planted: number;
  /** By this, 0.1 = 10 % */
  readonly slowdown: number;
  readonly samplesPerCell: number;
  readonly seed: number;
}

/** What a gate made of one simulated set. */
export interface SimulatedOutcome {
  /** Planted cells that are `regressed` */
  readonly found: number;
  /** Unchanged cells that are `regressed` */
  readonly falseAlarms: number;
  /** Unchanged cells that are `improved` */
  readonly falsePraise: number;
}

function score(verdicts: readonly GateVerdict[], planted: number): SimulatedOutcome {
  const count = (part: readonly GateVerdict[], verdict: string): number =>
    part.filter((v) => v.verdict === verdict).length;
  const unchanged = verdicts.slice(planted);
  return {
    found: count(verdicts.slice(0, planted), 'regressed'),
    falseAlarms: count(unchanged, 'regressed'),
    falsePraise: count(unchanged, 'improved'),
  };
}

const trueUs = (set: SimulatedSet, cell: number, head: boolean): number =>
  (20 + cell) * (head && cell < set.planted ? 1 + set.slowdown : 1);

/** Enough for the standard error of a median; the verdict hardly depends on it. */
const RESAMPLES = 200;

function simulateRun(set: SimulatedSet, head: boolean, seed: number): StoredRun[] {
  const session = new Session(xoroshiro128plus(seed));
  return Array.from({ length: set.cells }, (_, cell) => {
    const samples = session.samples(trueUs(set, cell, head), set.samplesPerCell);
    const ci = medianInterval(samples, streamSeed(seed, cell), RESAMPLES);
    return { medianUs: median(samples), lowUs: ci.low, highUs: ci.high };
  });
}

/** `compare` of two sets of `runs` sessions each. */
export function simulateStored(set: SimulatedSet, runs: number): SimulatedOutcome {
  const side = (head: boolean): StoredRun[][] =>
    Array.from({ length: runs }, (_, run) =>
      simulateRun(set, head, streamSeed(set.seed, 2 * run + Number(head))),
    );
  const [base, head] = [side(false), side(true)];
  const cells = Array.from({ length: set.cells }, (_, i): StoredCell => {
    const of = (runsOfSide: StoredRun[][]): StoredRun[] => runsOfSide.map((run) => run[i] as StoredRun);
    return { title: `cell ${i}`, base: of(base), head: of(head), baseReason: null, headReason: null };
  });
  return score(judgeStored(cells, STORED_THRESHOLD).verdicts, set.planted);
}

/** Rounds of one cell: base and head one after the other, the order alternating. */
function simulatePairs(set: SimulatedSet, cell: number, rounds: number, session: Session): Pair[] {
  return Array.from({ length: rounds }, (_, round) => {
    const measure = (head: boolean, second: boolean): number =>
      median(session.samples(trueUs(set, cell, head), set.samplesPerCell)) *
      session.processFactor() *
      (second ? 1 + NOISE.secondOfPair : 1);
    const headFirst = round % 2 === 1;
    const first = measure(headFirst, false);
    const second = measure(!headFirst, true);
    return headFirst ? { headUs: first, baseUs: second } : { baseUs: first, headUs: second };
  });
}

/** `ab` in one session: inconclusive cells get twice the rounds, findings are measured again. */
export function simulatePaired(set: SimulatedSet): SimulatedOutcome {
  const session = new Session(xoroshiro128plus(streamSeed(set.seed, 0)));
  const all = Array.from({ length: set.cells }, (_, cell) => cell);
  const judge = (pairsOf: ReadonlyMap<number, readonly Pair[]>): Map<number, GateVerdict> => {
    const cells = [...pairsOf].map(([cell, pairs]) => ({ title: `cell ${cell}`, pairs }));
    const verdicts = judgePaired(
      cells.map((c) => ({ ...c, baseReason: null, headReason: null })),
      PAIRED_THRESHOLD,
    );
    return new Map([...pairsOf.keys()].map((cell, i) => [cell, verdicts[i] as GateVerdict]));
  };
  const measured = new Map(all.map((cell) => [cell, simulatePairs(set, cell, PAIRED_ROUNDS, session)]));
  const early = judge(measured);
  for (const [cell, pairs] of measured) {
    if (early.get(cell)?.verdict === 'inconclusive')
      pairs.push(...simulatePairs(set, cell, PAIRED_ROUNDS, session));
  }
  const first = judge(measured);
  const flagged = all.filter((cell) => /regressed|improved/.test(first.get(cell)?.verdict ?? ''));
  const fresh = new Session(xoroshiro128plus(streamSeed(set.seed, 1)));
  const again = judge(
    new Map(flagged.map((cell) => [cell, simulatePairs(set, cell, 2 * PAIRED_ROUNDS, fresh)])),
  );
  const verdicts = [...first].map(([cell, verdict]) => confirm(verdict, again.get(cell) ?? verdict));
  return score(verdicts, set.planted);
}

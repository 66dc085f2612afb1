import type { ClaimPoint, ClaimResult, ClaimScale, ClaimTest, ClaimVerdict } from '../core/claim.js';
import { slowDenseNote } from '../core/dense-step.js';
import type { Interval } from '../core/summary.js';
import { isBlocked, type Claim, type MeasuredClaim, type Quantity, type ScaleSpec } from './schema.js';
import { type ClaimData, seriesOf, slowBaselineRatio } from './series.js';
import { applyTest, type Finding, type Measured, NUMBER_TOLERANCE } from './tests.js';

/** The series' title, without its unit. */
function titleOf(q: Quantity): string {
  switch (q.kind) {
    case 'speedup':
      return `speedup of ${q.kernel} over the fastest dense`;
    case 'relative-latency':
      return `time of ${q.kernel} over its time at full density`;
    case 'ratio':
      return `time of ${q.top} over ${q.bottom}`;
    case 'share':
      return `share of ${q.module} in ${q.kernel}`;
  }
}

const UNITS: Readonly<Record<Quantity['kind'], string>> = {
  speedup: 'x',
  'relative-latency': 'x',
  ratio: 'x',
  share: '%',
};

/** What the one number of a test is, and its unit; x is the place where `number` reads. */
function quantityOf(claim: MeasuredClaim, spec: ScaleSpec): { quantity: string; unit: string } {
  const plain = titleOf(claim.quantity);
  const unit = UNITS[claim.quantity.kind];
  const [first, last] = [spec.x[0], spec.x.at(-1)];
  const axis = claim.axis === 'kv_len' ? 'N' : claim.axis;
  const texts: Readonly<Record<ClaimTest, { quantity: string; unit: string }>> = {
    number: { quantity: `${plain} at ${axis} ${spec.at}`, unit },
    rising: { quantity: `${plain}: at ${axis} ${last} over ${axis} ${first}`, unit: 'x' },
    falling: { quantity: `${plain}: at ${axis} ${last} over ${axis} ${first}`, unit: 'x' },
    'no-fall': { quantity: `${plain}: smallest over the largest before it`, unit: 'x' },
    linear: { quantity: `${plain}: largest deviation from a line`, unit: '%' },
    'slower-than-dense': { quantity: `${plain}: the largest`, unit: 'x' },
    crossing: { quantity: `${axis} at which the ${plain} reaches 1`, unit: 'sequences' },
  };
  return texts[claim.test];
}

function settingOf({ sweeps }: ScaleSpec): string {
  const [sweep] = sweeps;
  const list = (name: string): string => [sweep?.[name]].flat().join(',');
  const parts = [sweep?.models[0] ?? '', `batch ${list('batch')}`];
  if (sweep?.['seq'] !== undefined) parts.push(`N ${list('seq')}`);
  return parts.join(', ');
}

/** The rule for numbers: the interval against the paper's value +-10 %. */
export function compareWithPaper(value: number, interval: Interval | null, paper: number): ClaimVerdict {
  const { low, high } = interval ?? { low: value, high: value };
  if (low > paper * (1 + NUMBER_TOLERANCE)) return 'exceeded';
  return high < paper * (1 - NUMBER_TOLERANCE) ? 'not reproduced' : 'reproduced';
}

function verdictOf(finding: Finding, paperValue: number | null): ClaimVerdict {
  if (finding.holds !== null) return finding.holds ? 'reproduced' : 'not reproduced';
  if (finding.value === null || paperValue === null) return 'not reproduced';
  return compareWithPaper(finding.value, finding.interval, paperValue);
}

/** What the same test says of the paper's own series; null where it has too few points to say anything. */
function paperFinding(claim: MeasuredClaim): number | null {
  const { x, at } = claim.scales.full;
  const wanted = claim.paper.filter((p) => claim.test === 'crossing' || x.includes(p.x));
  const points = wanted.map(({ x: place, value }) => ({
    x: place,
    value,
    interval: { low: value, high: value },
  }));
  const enough = claim.test === 'number' ? points.some((p) => p.x === at) : points.length > 1;
  if (!enough && claim.test !== 'slower-than-dense') return null;
  return points.length === 0 ? null : applyTest(claim.test, points, at).value;
}

type About = Pick<ClaimResult, 'id' | 'figure' | 'statement' | 'scale' | 'paperSource'>;

function notMeasurable(about: About, reason: string, rest: Partial<ClaimResult> = {}): ClaimResult {
  return {
    ...about,
    setting: '',
    verdict: 'not measurable here',
    reason,
    test: null,
    quantity: '',
    unit: '',
    value: null,
    interval: null,
    paperValue: null,
    bound: null,
    boundUnderPaper: false,
    slowBaseline: null,
    axis: 'batch',
    valueTitle: '',
    points: [],
    ...rest,
  };
}

/** The points that a test needs: all of a trend's, one of a number's; else why they are not there. */
function neededPoints(
  claim: MeasuredClaim,
  spec: ScaleSpec,
  points: readonly ClaimPoint[],
): Measured[] | string {
  const needed = claim.test === 'number' ? points.filter((p) => p.x === spec.at) : points;
  const gap = needed.find((p) => p.value === null);
  if (gap !== undefined) {
    const axis = claim.axis === 'kv_len' ? 'N' : claim.axis;
    return `${gap.reason ?? 'no value'} (${axis} ${gap.x})`;
  }
  return needed.flatMap(({ x, value, interval }) =>
    value === null ? [] : [{ x, value, interval: interval ?? { low: value, high: value } }],
  );
}

/** An interval wider than the tolerance overlaps almost anything: said, so that nobody takes luck for agreement. */
function noiseNote({ value, interval }: Finding): string | null {
  if (value === null || interval === null) return null;
  const half = Math.max(value - interval.low, interval.high - value) / value;
  if (half <= NUMBER_TOLERANCE) return null;
  return `the interval is ±${(100 * half).toFixed(0)} %: too noisy to tell, measure again on a quiet machine`;
}

/** What stands between our number and the paper's when physics does. */
function boundNote(bound: number, paper: number, slow: number | null, scale: ClaimScale): string {
  const slower =
    slow === null
      ? ''
      : `; against attention/dense-per-query-head, which reads the cache once per query head as the paper's baseline does, it is ${slow.toFixed(2)}x`;
  const shapes = scale === 'small' ? ' of the small shapes' : '';
  return `the bound ${bound.toFixed(2)}x${shapes} lies under the paper's ${paper.toFixed(2)}x: no kernel reaches it against the fastest dense${slower}`;
}

/** Speedups over a dense step that was slower than its parts, one line for each place. */
function slowDenseNotes(claim: MeasuredClaim, points: readonly ClaimPoint[], { rows }: ClaimData): string[] {
  if (claim.quantity.kind !== 'speedup') return [];
  const axis = claim.axis === 'kv_len' ? 'N' : claim.axis;
  return points.flatMap((point) => {
    const row = rows.find(({ line }) => line === point.rows[0])?.row;
    const note = slowDenseNote(row?.warnings ?? null);
    return note === null ? [] : [`at ${axis} ${point.x} ${note}`];
  });
}

type Judged = Pick<
  ClaimResult,
  'verdict' | 'reason' | 'value' | 'interval' | 'bound' | 'boundUnderPaper' | 'slowBaseline'
>;

/** @param points those that the test needs, all there @param series what the verdict is about */
function judge(
  claim: MeasuredClaim,
  scale: ClaimScale,
  points: readonly Measured[],
  series: Pick<ClaimResult, 'points' | 'paperValue'>,
  data: ClaimData,
): Judged {
  const { at } = claim.scales[scale];
  const { paperValue } = series;
  const finding = applyTest(claim.test, points, at);
  const isNumber = claim.test === 'number';
  const bound = isNumber ? (series.points.find((p) => p.x === at)?.bound ?? null) : null;
  const isSpeedup = claim.quantity.kind === 'speedup';
  const boundUnderPaper = isSpeedup && bound !== null && paperValue !== null && bound < paperValue;
  const slowBaseline = isNumber && at !== null ? slowBaselineRatio(claim, at, data) : null;
  const physics = boundUnderPaper ? boundNote(bound, paperValue, slowBaseline, scale) : null;
  const verdict = verdictOf(finding, paperValue);
  const lucky = isNumber && verdict === 'reproduced';
  const used = isNumber ? series.points.filter((p) => p.x === at) : series.points;
  const notes = [finding.reason, physics, lucky ? noiseNote(finding) : null]
    .filter((n) => n !== null)
    .concat(slowDenseNotes(claim, used, data));
  return {
    verdict,
    reason: notes.length === 0 ? null : notes.join('; '),
    value: finding.value,
    interval: finding.interval,
    bound,
    boundUnderPaper,
    slowBaseline,
  };
}

/**
 * The verdict on one claim. Fixed rules: a number is reproduced when our interval overlaps the paper's value +-10 %,
 * exceeded above that, not reproduced below; a trend is a named test.
 *
 * @param scale which of the claim's two scales was measured
 * @param data what was measured for it
 * @param unavailable why it could not even be planned; null: it was
 */
export function evaluateClaim(
  claim: Claim,
  scale: ClaimScale,
  data: ClaimData,
  unavailable: string | null = null,
): ClaimResult {
  const { id, figure, statement, paperSource } = claim;
  const about = { id, figure, statement, scale, paperSource };
  if (isBlocked(claim)) return notMeasurable(about, claim.unmeasurable);
  const spec = claim.scales[scale];
  const points = seriesOf(claim, spec, scale === 'full', data);
  const paperValue = paperFinding(claim);
  const described = {
    setting: settingOf(spec),
    test: claim.test,
    ...quantityOf(claim, spec),
    paperValue,
    axis: claim.axis,
    valueTitle: `${titleOf(claim.quantity)} (${UNITS[claim.quantity.kind]})`,
    points,
  };
  if (unavailable !== null) return notMeasurable(about, unavailable, { ...described, points: [] });
  const needed = neededPoints(claim, spec, points);
  if (typeof needed === 'string') return notMeasurable(about, needed, described);
  return { ...about, ...described, ...judge(claim, scale, needed, described, data) };
}

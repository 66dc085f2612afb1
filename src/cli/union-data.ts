import { UsageError } from '../core/errors.js';
import type { TraceNative } from '../core/trace-native.js';
import type { UnionCurves, UnionLaw, UnionRow } from '../core/union.js';
import { curveRows, lawRows, measuredRows } from '../report/union-rows.js';
import { FIT_BATCH_SIZES, fitLayers, summarizeFits, type LayerFit } from '../theory/union-curves.js';
import type { LawError } from '../theory/union-fit.js';
import { measuredCurves, measureUnion } from '../traces/measure-union.js';
import { publishedUnion } from '../traces/published.js';
import { openTrace, type Trace } from '../traces/trace.js';
import type { UnionInvocation } from './union-request.js';

/** One model: what was measured or published, and the law fitted to it. Rows of single layers. */
export interface UnionData {
  readonly model: string;
  readonly own: readonly UnionRow[];
  readonly law: readonly UnionRow[];
  readonly fits: readonly LayerFit[];
  /** D; null where only parameters were given */
  readonly neurons: number | null;
  readonly source: string;
  /** How well the law does, for a person; null where nothing was fitted */
  readonly fitStatement: string | null;
  readonly trace: Trace | null;
}

const points = (density: number): string => (100 * density).toFixed(2);

function errorText(error: LawError, of: string): string {
  return `mean absolute error ${points(error.meanAbsolute)} percentage points, worst ${points(error.worst)} over ${error.points} ${of}`;
}

/** "beta-binomial law, 64 of 64 layers fitted: mean absolute error 0.14 ... over 226 fitted points; ..." */
function fitStatement(fits: readonly LayerFit[], invocation: UnionInvocation): string | null {
  const { layers, allLayers, fitted, heldOut } = summarizeFits(fits);
  if (fitted === null) return null;
  const parts = [errorText(fitted, 'fitted points')];
  if (heldOut !== null) {
    parts.push(errorText(heldOut, `points not fitted (fitted on B = ${FIT_BATCH_SIZES.join(', ')})`));
  }
  return `${invocation.law} law, ${layers} of ${allLayers} layers: ${parts.join('; ')}`;
}

function checkLayers(curves: UnionCurves, invocation: UnionInvocation): void {
  const missing = (invocation.layers ?? []).find((n) => !curves.layers.some((l) => l.layer === n));
  if (missing !== undefined) {
    const most = Math.max(...curves.layers.map((l) => l.layer));
    throw new UsageError(`Expected layers 0 to ${most} (${curves.model}) for --layers, got ${missing}`, {
      hint: 'Layers count from 0.',
    });
  }
}

function dataOf(
  curves: UnionCurves,
  own: readonly UnionRow[],
  invocation: UnionInvocation,
  trace: Trace | null,
): UnionData {
  const fits = fitLayers(curves, invocation.law);
  const common = {
    model: curves.model,
    source: `law:${invocation.law} fitted to ${curves.source.split(';')[0]}`,
    neurons: curves.intermediateSize,
  };
  return {
    model: curves.model,
    own,
    law: lawRows(common, fits, invocation.batchSizes, invocation.layers),
    fits,
    neurons: curves.intermediateSize,
    source: curves.source,
    fitStatement: fitStatement(fits, invocation),
    trace,
  };
}

function publishedData(model: string, invocation: UnionInvocation): UnionData {
  const curves = publishedUnion(model);
  if (curves === null) throw new UsageError(`Expected a published curve for --model, got ${model}`);
  checkLayers(curves, invocation);
  return dataOf(curves, curveRows(curves, invocation.batchSizes, invocation.layers), invocation, null);
}

function givenData(invocation: UnionInvocation): UnionData {
  const { alpha, beta, neurons } = invocation.given ?? { alpha: 1, beta: 1, neurons: null };
  const law: UnionLaw = { kind: 'beta-binomial', alpha, beta };
  const error: LawError = { points: 0, meanAbsolute: 0, worst: 0 };
  const fits = [{ layer: 0, fit: { law, error, fittedOn: [], warnings: [] }, heldOut: [] }];
  const source = `law:beta-binomial alpha ${alpha} beta ${beta}`;
  return {
    model: 'law',
    own: [],
    // Nothing was fitted, so no batch size is an extrapolation.
    law: lawRows({ model: 'law', source, neurons }, fits, invocation.batchSizes, null).map((row) => ({
      ...row,
      warnings: null,
    })),
    fits,
    neurons,
    source,
    fitStatement: null,
    trace: null,
  };
}

/** A law alone needs only the batch sizes that it is fitted on. */
function batchesToMeasure(trace: Trace, invocation: UnionInvocation): number[] {
  const tokens = Math.min(...trace.layers.flatMap((l) => (l.activity === null ? [] : [l.activity.tokens])));
  const wanted = invocation.source === 'law' ? FIT_BATCH_SIZES : invocation.batchSizes;
  const free = invocation.source === 'law' || invocation.defaultBatches;
  return wanted.filter((b) => !free || b <= tokens);
}

/** A trace of head norms has no union; its head statistics are all there is to show. */
function headsOnly(trace: Trace): UnionData {
  const source = trace.paths.join(', ');
  return { model: trace.model, own: [], law: [], fits: [], neurons: null, source, fitStatement: null, trace };
}

async function traceData(
  invocation: UnionInvocation,
  native: () => TraceNative,
  onLayer: (done: number, all: number) => void,
): Promise<UnionData> {
  const trace = openTrace(invocation.traces);
  if (trace.layers.every((l) => l.activity === null && l.headNorms !== null)) return headsOnly(trace);
  const { layers, trials, seed, threads } = invocation;
  const batchSizes = batchesToMeasure(trace, invocation);
  const measured = await measureUnion(
    trace,
    { batchSizes, layers, trials, seed, threads },
    native(),
    onLayer,
  );
  return dataOf(measuredCurves(measured), measuredRows(measured), invocation, trace);
}

/** Everything that was asked for, one entry per model. */
export async function collectUnion(
  invocation: UnionInvocation,
  native: () => TraceNative,
  onLayer: (done: number, all: number) => void,
): Promise<UnionData[]> {
  if (invocation.traces.length > 0) return [await traceData(invocation, native, onLayer)];
  if (invocation.given !== null) return [givenData(invocation)];
  return invocation.models.map((model) => publishedData(model, invocation));
}

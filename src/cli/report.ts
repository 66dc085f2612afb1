import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

import { EXIT, UsageError } from '../core/errors.js';
import { quoted } from '../core/json.js';
import type { ModelShape } from '../core/model-shape.js';
import { isBlocked } from '../claims/schema.js';
import { loadModel } from '../models/load.js';
import { reportDocument, type ReportInput, type UnionInput } from '../report/page/page.js';
import { measuredPolarMaps, type PolarMap } from '../report/polar-map.js';
import { curveRows, lawRows } from '../report/union-rows.js';
import { CLAIM_FILES, readBreakdown, readClaims } from '../sinks/claim-files.js';
import { readEnvironment } from '../sinks/environment-file.js';
import { prepareFolder, reopenFolder, RESULT_FILES } from '../sinks/folder.js';
import { readPlan } from '../sinks/plan-file.js';
import { readRowsCsv } from '../sinks/read.js';
import { REPORT_FILES, writePolarMaps, writeReport } from '../sinks/report-files.js';
import { readReproduceRequest, type ReproduceRequest } from '../sinks/reproduce-file.js';
import { fitLayers } from '../theory/union-curves.js';
import { publishedUnion } from '../traces/published.js';
import { allClaims } from './claims-file.js';
import { deviceSpecList, predictedMaps } from './device-specs.js';
import { knownCeilings, largerCeilings } from './instrument.js';
import { shellWord } from './repro.js';
import { say, type Terminal } from './terminal.js';

/** Layers and batch sizes of a union figure: the ends and the quarters, doubling past what is published. */
const UNION_LAYERS = [0, 0.25, 0.5, 0.75, 1];
const UNION_BATCHES = Array.from({ length: 11 }, (_, i) => 2 ** i);

function unionOf(model: string): UnionInput[] {
  const curves = publishedUnion(model);
  if (curves === null) return [];
  const fits = fitLayers(curves, 'beta-binomial').filter((f) => f.fit !== null);
  const layers = [
    ...new Set(UNION_LAYERS.map((share) => fits[Math.floor(share * (fits.length - 1))]?.layer)),
  ].filter((layer) => layer !== undefined);
  const common = { model, source: curves.source, neurons: curves.intermediateSize };
  return [
    {
      model,
      source: curves.source,
      points: curveRows(curves, UNION_BATCHES, layers),
      law: lawRows(common, fits, UNION_BATCHES, layers),
      lastBatch: Math.max(...curves.batchSizes),
    },
  ];
}

function requestOf(folder: string, given: string): ReproduceRequest | null {
  return existsSync(join(folder, CLAIM_FILES.request)) ? readReproduceRequest(folder, given) : null;
}

/** Models to predict for: those of the folder, or those of the paper where `reproduce` ran at small scale. */
function predictionModels(folder: string, given: string, request: ReproduceRequest | null): ModelShape[] {
  if (request === null) {
    const cells = readPlan(join(folder, RESULT_FILES.plan), given).plan.cells;
    return [...new Map(cells.map((c) => [c.model.name, c.model])).values()];
  }
  const chosen = allClaims().filter((c) => request.claims.includes(c.id));
  const names = chosen.flatMap((c) => (isBlocked(c) ? [] : c.scales.full.sweeps.map((s) => s.models[0])));
  return [...new Set(names)].map((name) => loadModel(name));
}

/** Shell lines that give the folder again; where it was written does not belong to what was measured. */
function commandsOf(argv: readonly string[] | undefined, name: string): string[] {
  const words = (argv ?? []).filter((word, i, all) => word !== '--out' && all[i - 1] !== '--out');
  const measure = words.length === 0 ? [] : [['polar-bench', ...words].map(shellWord).join(' ')];
  return [...measure, `polar-bench report ${shellWord(name)}`];
}

/**
 * Writes the report of a result folder, by default into it.
 * @param path absolute, of a folder that a sweep or `reproduce` has written
 * @param given as the user wrote it, for messages
 * @param deviceSpecs names beyond those of the folder
 * @param target folder for the files; exists
 * @throws UsageError, TraceError when the folder is not one
 */
export async function makeReport(
  path: string,
  given: string,
  deviceSpecs: readonly string[],
  target: string,
): Promise<void> {
  const rows = readRowsCsv(join(path, RESULT_FILES.rows));
  const environment = readEnvironment(join(path, RESULT_FILES.environment), given);
  const request = requestOf(path, given);
  const specs = [...new Set([...(request?.deviceSpecs ?? []), ...deviceSpecs])];
  const predicted: PolarMap[] =
    specs.length === 0
      ? []
      : predictedMaps(predictionModels(path, given, request), specs, request === null ? rows : []);
  const known = knownCeilings(environment);
  const ceilings = known.length === 0 ? null : known.reduce(largerCeilings);
  const models = [...new Set(rows.map((row) => row.model))];
  const name = basename(path);
  const input: ReportInput = {
    name,
    rows,
    claims: readClaims(path),
    breakdown: readBreakdown(path),
    predicted,
    unions: models.flatMap(unionOf),
    environment,
    ceilings,
    commands: commandsOf(environment?.argv, name),
  };
  writePolarMaps(target, measuredPolarMaps(rows), predicted);
  await writeReport(target, reportDocument(input), new Date().toISOString());
}

function refuseOther(path: string, given: string): void {
  if (existsSync(join(path, RESULT_FILES.rows))) return;
  throw new UsageError(`Expected a result folder for report, got ${quoted(given)} without rows.csv`, {
    hint: 'Name a folder that a sweep or `reproduce` has written.',
  });
}

/** `polar-bench report DIR`: measures nothing. */
export async function report(
  given: string,
  options: Readonly<Record<string, unknown>>,
  outer: Terminal,
): Promise<number> {
  const terminal = { ...outer, quiet: options['quiet'] === true };
  const text = (name: string): string | undefined =>
    typeof options[name] === 'string' ? options[name] : undefined;
  const specs = deviceSpecList(text('deviceSpec'));
  const path = resolve(given);
  refuseOther(path, given);
  const out = text('out');
  const folder = out === undefined ? reopenFolder(given, 'report') : prepareFolder(out);
  folder.acquire();
  try {
    await makeReport(path, given, specs, folder.path);
  } finally {
    folder.release();
  }
  terminal.stdout.write(`${join(folder.path, REPORT_FILES.html)}\n`);
  say(terminal, `${REPORT_FILES.markdown} and ${REPORT_FILES.plots}/ lie beside it`);
  return EXIT.ok;
}

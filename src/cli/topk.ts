import { join } from 'node:path';

import { EXIT, UsageError } from '../core/errors.js';
import { parseRange } from '../plan/axes.js';
import { OPTION_LIMITS } from '../plan/schema.js';
import { replaceFile } from '../sinks/durable.js';
import { prepareFolder } from '../sinks/folder.js';
import { jsonDocument } from '../sinks/json.js';
import { toSnakeCase } from '../sinks/snake-case.js';
import { DEFAULT_TOPK_TRIALS, measureTopk, type LayerTopk } from '../traces/router-topk.js';
import { topkCsv } from '../traces/topk-table.js';
import { openTrace } from '../traces/trace.js';
import { numberFlag, oneOf } from './flags.js';
import { plainTable } from './plain-table.js';
import { say, warn, type Terminal } from './terminal.js';
import { MAX_UNION_BATCH, parseLayers } from './union-request.js';

const DEFAULT_STEP = 128;

/** k as it is written: the exact one, or the greedy search's with --greedy. */
function entries(rows: readonly LayerTopk[], greedy: boolean): Parameters<typeof topkCsv>[0] {
  return rows.map((r) => ({
    layer: r.layer,
    batchSize: r.batchSize,
    optimalK: greedy ? r.greedyK : r.exactK,
  }));
}

async function tableText(rows: readonly LayerTopk[], neurons: number): Promise<string> {
  return plainTable(
    ['layer', 'batch', 'exact k', 'greedy k', 'k / D %', 'recall', 'batches'],
    rows.map((r) => [
      String(r.layer),
      String(r.batchSize),
      String(r.exactK),
      String(r.greedyK),
      ((100 * r.exactK) / neurons).toFixed(1),
      r.recall.toFixed(4),
      String(r.batches),
    ]),
  );
}

function reportDifference(rows: readonly LayerTopk[], terminal: Terminal): void {
  const more = rows.filter((r) => r.greedyK !== r.exactK);
  if (more.length === 0) return;
  const extra = more.reduce((n, r) => n + r.greedyK - r.exactK, 0) / more.length;
  warn(
    terminal,
    `greedy and exact k differ in ${more.length} of ${rows.length} rows, by ${extra.toFixed(0)} neurons on average`,
  );
}

/** `polar-bench topk` */
export async function topk(options: Readonly<Record<string, unknown>>, outer: Terminal): Promise<number> {
  const o = options as Readonly<Record<string, string | undefined>>;
  const terminal = { ...outer, quiet: options['quiet'] === true };
  const traces = options['trace'] as string[] | string | undefined;
  if (traces === undefined) {
    throw new UsageError('Expected at least one file for --trace, got none', {
      hint: 'A trace holds layers.<i>.mlp.router_logits beside masks or activations.',
    });
  }
  const integer = (name: string, min: number, max: number, fallback: number): number =>
    o[name] === undefined ? fallback : numberFlag(name, { min, max, integer: true }, o[name]);
  const step = integer('step', 1, 262_144, DEFAULT_STEP);
  const format = oneOf('format', ['csv', 'table', 'json'] as const, o['format'] ?? 'csv');
  const request = {
    batchSizes: parseRange(o['batch'] ?? '1-64*2', { name: '--batch' }, MAX_UNION_BATCH),
    layers: o['layers'] === undefined ? null : parseLayers(o['layers']),
    recall: numberFlag('recall', { min: 0, max: 1, exclusiveMin: true }, o['recall'] ?? '0.99'),
    start: step,
    step,
    trials: integer('trials', 1, 1_000_000, DEFAULT_TOPK_TRIALS),
    seed: integer('seed', OPTION_LIMITS.seed.min, OPTION_LIMITS.seed.max, 1),
  };
  const folder = o['out'] === undefined ? null : prepareFolder(o['out']);
  const trace = openTrace(typeof traces === 'string' ? traces.split(',') : traces);
  const rows = measureTopk(trace, request, (done, all) => say(terminal, `layer ${done} of ${all}`));
  const greedy = options['greedy'] === true;
  if (format === 'csv') terminal.stdout.write(topkCsv(entries(rows, greedy)));
  else if (format === 'table') terminal.stdout.write(await tableText(rows, trace.intermediateSize));
  else terminal.stdout.write(jsonDocument({ schema_version: 1, rows: rows.map((r) => toSnakeCase(r)) }));
  if (greedy) reportDifference(rows, terminal);
  if (folder !== null) {
    for (const batchSize of request.batchSizes) {
      const list = entries(rows, greedy).filter((e) => e.batchSize === batchSize);
      // The authors' name for it: their loader and ours find the files.
      replaceFile(join(folder.path, `mlp_router_configs_bsize_${batchSize}.csv`), topkCsv(list));
    }
    say(terminal, `results in ${folder.path}`);
  }
  return EXIT.ok;
}

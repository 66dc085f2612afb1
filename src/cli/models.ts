import { EXIT } from '../core/errors.js';
import { listModels } from '../models/load.js';
import { jsonDocument } from '../sinks/json.js';
import { toSnakeCase } from '../sinks/snake-case.js';
import { oneOf } from './flags.js';
import { plainTable } from './plain-table.js';
import type { Terminal } from './terminal.js';

/** `polar-bench models` */
export async function models(options: Readonly<Record<string, string>>, terminal: Terminal): Promise<number> {
  const format = oneOf('format', ['table', 'json'] as const, options['format'] ?? 'table');
  const shapes = listModels();
  if (format === 'json') {
    terminal.stdout.write(
      jsonDocument({ schema_version: 1, models: shapes.map((shape) => toSnakeCase(shape)) }),
    );
    return EXIT.ok;
  }
  const rows = shapes.map((m) =>
    [
      m.name,
      m.numLayers,
      m.hiddenSize,
      m.numQoHeads,
      m.numKvHeads,
      m.headDim,
      m.intermediateSize,
      m.gated ? `${m.activation} gated` : m.activation,
      m.criticalHeadDensity?.value ?? '-',
      m.referenceKvLen?.value ?? '-',
    ].map(String),
  );
  const head = ['model', 'layers', 'd', 'heads', 'kv heads', 'd_h', 'D', 'activation', 'head density', 'N'];
  terminal.stdout.write(await plainTable(head, rows));
  terminal.stdout.write(
    'head density: share of heads (KV groups) that keeps accuracy within 1 %, as published; N: the sequence length it was measured at\n',
  );
  return EXIT.ok;
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Cells of milliseconds: what is tested with them is what happens around them. */
export const SMALL =
  '--model tiny-opt --backend cpu --scope attention --seq 64 --cache hot --max-time 0.05 --min-samples 3 --quiet'.split(
    ' ',
  );

export type PrintedRow = Readonly<Record<string, string | number | null>>;

interface SampleLine {
  readonly cell: { readonly key: string; readonly batch_size: number };
}

/** Rows of a sweep with --format json. */
export const rowsOf = (stdout: string): PrintedRow[] => (JSON.parse(stdout) as { rows: PrintedRow[] }).rows;

export const samplesIn = (folder: string): SampleLine[] =>
  readFileSync(join(folder, 'samples.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as SampleLine);

export const FOUR_FILES = ['env.json', 'plan.json', 'rows.csv', 'samples.jsonl'];

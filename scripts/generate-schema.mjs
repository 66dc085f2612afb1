#!/usr/bin/env node
// Writes configs/schema.json from the zod schema in dist/; run `npm run build` first. `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { sweepConfigJsonSchema } from '../dist/plan/schema.js';

const file = new URL('../configs/schema.json', import.meta.url);
const text = await format(JSON.stringify(sweepConfigJsonSchema()), { parser: 'json', printWidth: 110 });

if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    process.stderr.write('configs/schema.json is not current; run node scripts/generate-schema.mjs\n');
    process.exitCode = 1;
  }
} else {
  writeFileSync(file, text);
}

// Writes docs/columns.md from the one declaration of the columns. Run after `npx tsc`.
import { writeFileSync } from 'node:fs';
import { columnsDocument } from '../dist/report/columns-document.js';

writeFileSync(new URL('../docs/columns.md', import.meta.url), columnsDocument());

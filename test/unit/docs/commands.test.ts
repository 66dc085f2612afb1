import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import { describe, expect, test } from 'vitest';

import { runCli } from '../../../src/cli/program.js';
import { recordedTerminal } from '../../support/terminal.js';

const ROOT = resolve(import.meta.dirname, '../../..');

/** `polar-bench sweep --model x` and `node dist/main.js sweep ...` of a text, as command and flags. */
function commandsIn(text: string): { command: string; flags: string[] }[] {
  // YAML folds a command over lines that are indented alike; shells and Markdown do not.
  const folded = text.replaceAll(/>-\n((?: {10}.*\n)+)/g, (_, lines: string) =>
    lines.replaceAll(/\n */g, ' '),
  );
  return [...folded.matchAll(/(?:polar-bench|main\.js) ([a-z][a-z-]+)([^\n`|;&]*)/g)].map(
    ([, command = '', rest = '']) => ({ command, flags: rest.match(/--[a-z][a-z-]*/g) ?? [] }),
  );
}

async function helpOf(...command: string[]): Promise<string> {
  const terminal = recordedTerminal();
  await runCli(['node', 'polar-bench', ...command, '--help'], terminal);
  return terminal.out();
}

describe('every command that the documents show exists, with its flags', () => {
  test.each(['.github/workflows/perf.yml', 'docs/ci.md', 'README.md', 'docs/claims.md', 'docs/tutorial.md'])(
    '%s',
    async (file) => {
      const known = [...(await helpOf()).matchAll(/^ {2}([a-z][a-z-]+)\b/gm)].map(([, name]) => name);
      const shown = commandsIn(readFileSync(resolve(ROOT, file), 'utf8')).filter(
        // "polar-bench is ..." in a sentence is no command.
        (c) => known.includes(c.command) || c.flags.length > 0,
      );
      expect(shown.length).toBeGreaterThan(3);
      for (const { command, flags } of shown) {
        expect(known).toContain(command);
        const help = await helpOf(command);
        for (const flag of flags) expect(`${command}: ${help}`).toMatch(new RegExp(`${flag}\\b`));
      }
    },
  );
});

import { Command } from 'commander';

import { booleanFlag, flag } from './flags.js';
import { withPlanFlags } from './plan-flags.js';
import type { Terminal } from './terminal.js';

/** Where a command leaves what it wants to run; program.ts has the same. */
interface Pending {
  run: (() => Promise<number>) | null;
}

const COMPARE_EXAMPLES = `
BASE and HEAD are result folders, folders of such folders (several runs a side), or rows.csv files.

Examples:
  $ polar-bench compare results/main results/branch
  $ polar-bench compare base.csv head.csv --fail-on latency:10% --strict --format md

Exit code 5: a regression; 6: nothing comparable, or with --strict something unclear or missing.`;

const AB_EXAMPLES = `
Without --model, --preset or --config it measures the preset smoke. --max-time is per build, cell and round.

Examples:
  $ polar-bench ab --base ../main --head .
  $ polar-bench ab --base ../main --head . --model llama-3-8b --batch 1,16 --seq 2k --fail-on latency:3%`;

/** The commands over measurements that exist: judge them, join them. */
export function gateCommands(terminal: Terminal, pending: Pending): Command[] {
  return [
    new Command('compare')
      .description('regression gate over two result sets')
      .argument('<base>', 'result folder or rows.csv to compare with')
      .argument('<head>', 'result folder or rows.csv to judge')
      .addOption(flag('fail-on', 'latency:P%', 'slowdown that counts (default: latency:5%)'))
      .addOption(booleanFlag('strict', 'exit 6 when a cell is inconclusive or missing'))
      .addOption(flag('format', 'name', 'table, md, json or github (default: table)'))
      .addHelpText('after', COMPARE_EXAMPLES)
      .action((base: string, head: string, options: Record<string, string | boolean>) => {
        pending.run = async () => (await import('./compare.js')).compare(base, head, options, terminal);
      }),
    withPlanFlags(new Command('ab'))
      .description('interleaved comparison of two builds in one job')
      .addOption(flag('base', 'dir', 'build to compare with: a folder with dist/ and build/Release/'))
      .addOption(flag('head', 'dir', 'build to judge'))
      .addOption(flag('rounds', 'n', 'pairs per cell; twice as many where that is not enough (default: 8)'))
      .addOption(flag('fail-on', 'latency:P%', 'slowdown that counts (default: latency:2%)'))
      .addOption(booleanFlag('strict', 'exit 6 when a cell is inconclusive or missing'))
      .addOption(flag('format', 'name', 'table, md, json or github (default: table)'))
      .addOption(booleanFlag('quiet', 'no progress on stderr'))
      .addHelpText('after', AB_EXAMPLES)
      .action((options: Record<string, unknown>, command: Command) => {
        pending.run = async () => (await import('./ab.js')).ab(options, command, terminal);
      }),
    new Command('merge')
      .description('join the shards of one sweep into one result folder')
      .argument('<dir...>', 'result folders of `sweep --shard I/N`')
      .addOption(flag('out', 'dir', 'absent or empty folder (default: results/merged)'))
      .addOption(flag('format', 'name', 'table, csv, json, jsonl or md (default: table)'))
      .action((folders: string[], options: Record<string, string>) => {
        pending.run = async () => (await import('./merge.js')).merge(folders, options, terminal);
      }),
  ];
}

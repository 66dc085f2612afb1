import { Command } from 'commander';

import { booleanFlag, flag } from './flags.js';
import type { Terminal } from './terminal.js';

/** Where a command leaves what is to run after parsing. */
interface Pending {
  run: (() => Promise<number>) | null;
}

const REPRODUCE_EXAMPLES = `
A claim's name stands for its sub-claims too; without one, all claims of the paper are tested.

Examples:
  $ polar-bench reproduce --scale small
  $ polar-bench reproduce fig4a fig4b union-fades --out results/kernels
  $ polar-bench reproduce --resume results/kernels

A claim that is refuted is a result: exit code 0.`;

/** The commands over the paper's claims. */
export function claimCommands(terminal: Terminal, pending: Pending): Command[] {
  return [
    new Command('reproduce')
      .description("measure what the paper's claims need, and say of each whether it holds here")
      .argument('[claim...]', 'fig1a, fig4a, union-fades, ... (default: all; configs/paper/claims.json)')
      .addOption(flag('backend', 'name', 'auto, cpu or cuda (default: auto)'))
      .addOption(flag('device', 'n', 'ordinal of the device'))
      .addOption(
        flag('scale', 'name', "full: the paper's shapes, small: shapes of seconds (default: by backend)"),
      )
      .addOption(
        flag('device-spec', 'list', 'predict polar maps for devices that are not at hand (configs/devices)'),
      )
      .addOption(flag('threads', 'n', 'CPU threads, 0 = all'))
      .addOption(flag('max-time', 'seconds', 'stop sampling a cell after this, whatever its noise'))
      .addOption(
        booleanFlag('dry-run', 'print the cells, their memory and the estimated time; measure nothing'),
      )
      .addOption(flag('out', 'dir', 'absent or empty folder (default: results/<device>/<time>-reproduce)'))
      .addOption(flag('resume', 'dir', 'go on with an interrupted run'))
      .addOption(flag('format', 'name', 'table, csv or json (default: table)'))
      .addOption(
        flag('hang-timeout', 'seconds', 'give a cell up after this without a sign of life (default: 60)'),
      )
      .addOption(booleanFlag('quiet', 'no progress on stderr'))
      .addHelpText('after', REPRODUCE_EXAMPLES)
      .action((names: string[], options: Record<string, unknown>, command: Command) => {
        pending.run = async () =>
          (await import('./reproduce.js')).reproduce(names, options, command, terminal);
      }),
    new Command('report')
      .description('write one self-contained HTML page, Markdown and SVG plots from saved results')
      .argument('<dir>', 'result folder of a sweep or of reproduce')
      .addOption(flag('out', 'dir', 'absent or empty folder for the files (default: the result folder)'))
      .addOption(
        flag('device-spec', 'list', 'predict polar maps for devices that are not at hand (configs/devices)'),
      )
      .addOption(booleanFlag('quiet', 'no progress on stderr'))
      .action((folder: string, options: Record<string, unknown>) => {
        pending.run = async () => (await import('./report.js')).report(folder, options, terminal);
      }),
  ];
}

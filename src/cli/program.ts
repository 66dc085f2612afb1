import { Command, CommanderError } from 'commander';

import { SCOPES } from '../core/cell.js';
import { EXIT, UsageError } from '../core/errors.js';
import { claimCommands } from './claim-commands.js';
import { packageVersion } from './version.js';
import { booleanFlag, flag } from './flags.js';
import { gateCommands } from './gate-commands.js';
import { withPlanFlags } from './plan-flags.js';
import type { Terminal } from './terminal.js';
import { topkCommand, unionSparsityCommand } from './trace-commands.js';

const SWEEP_EXAMPLES = `
Examples:
  $ polar-bench sweep --model llama-3-8b
  $ polar-bench sweep --model opt-66b --batch 1-64*2 --seq 1920 --head-density 0.1,0.3,0.5 --out results/opt
  $ polar-bench sweep --model ./my-model/config.json --scope attention --format csv > rows.csv
  $ polar-bench sweep --model tiny-opt --scope step --breakdown
  $ polar-bench sweep --preset smoke

RANGE is 1,4,16 or 1-64*2 (doubling) or 512-4096+512 (steps) or 1k,8k (1k = 1024).
DENSITY is a share in (0, 1] or a fraction such as 22/72.`;

type Run = () => Promise<number>;

/** Collects the action that the command line names; it runs after parsing, so that errors have one way out. */
interface Pending {
  run: Run | null;
}

function sweepCommand(terminal: Terminal, pending: Pending): Command {
  return withPlanFlags(new Command('sweep'))
    .description('measure kernels, layers or decode steps over batch size x length x variant x density')
    .addOption(booleanFlag('breakdown', 'scope step: the share of each part, also as breakdown.csv'))
    .addOption(
      booleanFlag('dry-run', 'print the cells, their memory and the estimated time; measure nothing'),
    )
    .addOption(flag('out', 'dir', 'absent or empty folder (default: results/<device>/<time>-<model>)'))
    .addOption(flag('resume', 'dir', 'go on with an interrupted sweep: measure the cells that are missing'))
    .addOption(flag('shard', 'I/N', 'measure the I-th of N parts; `merge` joins them'))
    .addOption(flag('format', 'name', 'table, csv, json, jsonl or md (default: table)'))
    .addOption(booleanFlag('quiet', 'no progress on stderr'))
    .addHelpText('after', SWEEP_EXAMPLES)
    .action((options: Record<string, unknown>, command: Command) => {
      pending.run = async () => (await import('./sweep.js')).sweep(options, command, terminal);
    });
}

function verifyCommand(terminal: Terminal, pending: Pending): Command {
  return new Command('verify')
    .description('check every kernel against float64 references on edge and random shapes; no timing')
    .addOption(flag('backend', 'name', 'auto, cpu or cuda (default: auto)'))
    .addOption(flag('device', 'n', 'ordinal of the device'))
    .addOption(flag('dtype', 'list', 'bf16,fp16 (default: both)'))
    .addOption(flag('scope', 'list', `${SCOPES.join(',')} (default: all)`))
    .addOption(flag('seed', 'n', 'seed of data and random shapes'))
    .addOption(flag('threads', 'n', 'CPU threads, 0 = all'))
    .addOption(flag('random', 'n', 'random shapes per dtype and scope (default: 20)'))
    .addOption(
      flag('hang-timeout', 'seconds', 'give a case up after this without a sign of life (default: 60)'),
    )
    .addOption(flag('repeats', 'n', 'runs compared bit by bit (default: 10)'))
    .addOption(flag('shard', 'I/N', 'check the I-th of N parts (every N-th case)'))
    .addOption(flag('format', 'name', 'table or json (default: table)'))
    .addOption(booleanFlag('quiet', 'no progress on stderr'))
    .action((options: Record<string, string>) => {
      pending.run = async () => (await import('./verify.js')).verify(options, terminal);
    });
}

function listCommands(terminal: Terminal, pending: Pending): Command[] {
  return [
    new Command('models')
      .description('list the built-in model shapes')
      .addOption(flag('format', 'name', 'table or json (default: table)'))
      .action((options: Record<string, string>) => {
        pending.run = async () => (await import('./models.js')).models(options, terminal);
      }),
    new Command('devices')
      .description('list backends and devices with measured ceilings')
      .addOption(flag('dtype', 'type', 'bf16 or fp16 (default: bf16)'))
      .addOption(flag('format', 'name', 'table or json (default: table)'))
      .action((options: Record<string, string>) => {
        pending.run = async () => (await import('./devices.js')).devices(options, terminal);
      }),
    new Command('doctor')
      .description('explain what works on this machine, what does not and why')
      .action(() => {
        pending.run = async () => (await import('./doctor.js')).doctor(terminal);
      }),
  ];
}

/** Commander's own exits become errors of ours; it prints help and version only. */
function configure(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.stdout.write(text),
    writeErr: () => {},
    outputError: () => {},
  });
  command.showSuggestionAfterError(true);
  for (const child of command.commands) configure(child, terminal);
}

function buildProgram(terminal: Terminal, pending: Pending): Command {
  const program = new Command('polar-bench')
    .description('Measures when contextual sparsity pays in batched LLM decoding.')
    .version(packageVersion(), '--version')
    .addHelpText('after', '\nStart with:\n  $ polar-bench sweep --model llama-3-8b\n');
  program.addCommand(sweepCommand(terminal, pending));
  program.addCommand(unionSparsityCommand(terminal, pending));
  program.addCommand(topkCommand(terminal, pending));
  program.addCommand(verifyCommand(terminal, pending));
  for (const command of claimCommands(terminal, pending)) program.addCommand(command);
  for (const command of gateCommands(terminal, pending)) program.addCommand(command);
  for (const command of listCommands(terminal, pending)) program.addCommand(command);
  configure(program, terminal);
  return program;
}

function usageError(error: CommanderError): UsageError {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const suggestion = rest
    .join(' ')
    .replace(/^\(|\)$/g, '')
    .trim();
  const message = first.charAt(0).toUpperCase() + first.slice(1);
  return new UsageError(message, { hint: suggestion === '' ? 'Run `polar-bench --help`.' : suggestion });
}

/**
 * Runs one invocation.
 * @param argv as process.argv: interpreter, script, arguments
 * @returns the exit code
 * @throws PolarBenchError for everything that the user must hear about
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const pending: Pending = { run: null };
  const program = buildProgram(terminal, pending);
  try {
    if (argv.length <= 2) {
      program.outputHelp();
      return EXIT.ok;
    }
    program.parse([...argv]);
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0 || error.code === 'commander.help') return EXIT.ok;
    throw usageError(error);
  }
  return pending.run === null ? EXIT.ok : pending.run();
}

import { Command } from 'commander';

import { booleanFlag, flag } from './flags.js';
import type { Terminal } from './terminal.js';

/** Where a command leaves what is to run after parsing. */
interface Pending {
  run: (() => Promise<number>) | null;
}

const UNION_EXAMPLES = `
Examples:
  $ polar-bench union-sparsity
  $ polar-bench union-sparsity --model opt-66b --batch 1-512*2 --source law
  $ polar-bench union-sparsity --trace run.safetensors --batch 1-64*2 --layers 0,8-15 --out results/union
  $ polar-bench union-sparsity --alpha 0.3 --beta 7 --neurons 4096 --write-trace drawn.safetensors --tokens 200000`;

const list = (value: string, previous: string[] | undefined): string[] => [
  ...(previous ?? []),
  ...value.split(',').map((name) => name.trim()),
];

export function unionSparsityCommand(terminal: Terminal, pending: Pending): Command {
  return new Command('union-sparsity')
    .description(
      'union of active neurons against batch size: from a trace, from published curves, or from a law',
    )
    .addOption(flag('model', 'name', 'published curve; repeat or separate by commas').argParser(list))
    .addOption(flag('trace', 'file', 'safetensors trace; repeat or separate by commas').argParser(list))
    .addOption(flag('batch', 'range', 'batch sizes B (default: 1-64*2)'))
    .addOption(flag('layers', 'list', 'layers from 0: 0,3,8-15 (default: all, shown as their mean)'))
    .addOption(flag('source', 'name', 'published, law or trace (default: by what is given)'))
    .addOption(flag('law', 'name', 'beta-binomial or independent (default: beta-binomial)'))
    .addOption(flag('alpha', 'a', 'the law by its parameters instead of a fit'))
    .addOption(flag('beta', 'b', 'see --alpha'))
    .addOption(flag('neurons', 'D', 'neurons of the layer, with --alpha and --beta'))
    .addOption(flag('write-trace', 'file', 'draw a synthetic trace from the law'))
    .addOption(flag('tokens', 'n', 'tokens of the synthetic trace (default: 20000)'))
    .addOption(flag('correlation', 'r', 'correlation between tokens of one sequence, 0..1 (default: 0)'))
    .addOption(flag('trials', 'n', 'most random batches per batch size (default: 512)'))
    .addOption(flag('head-density', 'share', 'active share of heads in head statistics (default: 0.5)'))
    .addOption(flag('seed', 'n', 'seed of batches and of synthetic traces (default: 1)'))
    .addOption(flag('threads', 'n', 'CPU threads, 0 = all'))
    .addOption(flag('format', 'name', 'table, csv, json, jsonl or md (default: table)'))
    .addOption(flag('out', 'dir', 'absent or empty folder for union.csv and SVG plots'))
    .addOption(booleanFlag('quiet', 'no progress on stderr'))
    .addHelpText('after', UNION_EXAMPLES)
    .action((options: Record<string, unknown>) => {
      pending.run = async () => (await import('./union-sparsity.js')).unionSparsity(options, terminal);
    });
}

export function topkCommand(terminal: Terminal, pending: Pending): Command {
  return new Command('topk')
    .description('smallest k per layer and batch size at which a router recalls the active neurons (Alg. 2)')
    .addOption(
      flag('trace', 'file', 'safetensors trace with router logits; repeat or use commas').argParser(list),
    )
    .addOption(flag('recall', 'share', 'mean recall over batches to reach, (0, 1] (default: 0.99)'))
    .addOption(flag('step', 'k', 'start and step of the greedy search (default: 128)'))
    .addOption(booleanFlag('greedy', "write the greedy search's k; says where the exact one is smaller"))
    .addOption(flag('batch', 'range', 'batch sizes B (default: 1-64*2)'))
    .addOption(flag('layers', 'list', 'layers from 0 (default: all)'))
    .addOption(flag('trials', 'n', 'most random batches per batch size (default: 64)'))
    .addOption(flag('seed', 'n', 'seed of the batches (default: 1)'))
    .addOption(flag('format', 'name', 'csv, table or json (default: csv)'))
    .addOption(flag('out', 'dir', 'absent or empty folder; one CSV per batch size for --mlp-topk'))
    .addOption(booleanFlag('quiet', 'no progress on stderr'))
    .action((options: Record<string, unknown>) => {
      pending.run = async () => (await import('./topk.js')).topk(options, terminal);
    });
}

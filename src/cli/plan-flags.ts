import type { Command } from 'commander';

import { SCOPES } from '../core/cell.js';
import { flag } from './flags.js';
import { PRESETS } from './presets.js';

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), ...value.split(',').map((name) => name.trim())];
}

/** Adds what decides which cells are measured and for how long: the same words for `sweep` and `ab`. */
export function withPlanFlags(command: Command): Command {
  return command
    .addOption(
      flag(
        'model',
        'name|path',
        'built-in name, config.json or its folder; repeat or separate by commas',
      ).argParser(collect),
    )
    .addOption(flag('batch', 'range', 'batch sizes B'))
    .addOption(flag('seq', 'range', 'positions N in the KV cache'))
    .addOption(flag('variant', 'list', 'dense, mlp-sparse, head-sparse, polar (default: all that apply)'))
    .addOption(flag('scope', 'list', `${SCOPES.join(', ')} (default: attention,mlp)`))
    .addOption(
      flag(
        'head-density',
        'list',
        "active share of heads or KV groups (default: the model's critical density)",
      ),
    )
    .addOption(flag('mlp-density', 'list', 'active share of neurons, or "union" for the published curve'))
    .addOption(
      flag('mlp-topk', 'file|dir', 'active neurons from CSV layer,batch_size,optimal_k (topk writes it)'),
    )
    .addOption(flag('backend', 'name', 'auto, cpu or cuda (default: auto)'))
    .addOption(flag('device', 'n', 'ordinal of the device'))
    .addOption(flag('dtype', 'type', 'bf16 or fp16 (default: bf16)'))
    .addOption(flag('seed', 'n', 'seed of data and index sets'))
    .addOption(flag('threads', 'n', 'CPU threads, 0 = all'))
    .addOption(flag('min-samples', 'n', 'sampling rounds at least'))
    .addOption(flag('max-noise', 'percent', 'stop when every 95 % interval is within +- this'))
    .addOption(flag('max-time', 'seconds', 'stop sampling a cell after this, whatever its noise'))
    .addOption(flag('warmup', 'n', 'untimed samples first'))
    .addOption(flag('cache', 'mode', 'cold (rotate over copies beyond the last-level cache) or hot'))
    .addOption(flag('preset', 'name', `${PRESETS.join(', ')}; flags change it`))
    .addOption(flag('config', 'file', 'sweep configuration (configs/schema.json)'))
    .addOption(
      flag('hang-timeout', 'seconds', 'give a cell up after this without a sign of life (default: 60)'),
    );
}

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/program.js';
import { parseLayers } from '../../../src/cli/union-request.js';
import { PolarBenchError, TraceError } from '../../../src/core/errors.js';
import { loadTopkTable } from '../../../src/traces/topk-table.js';
import { floats, masks, temporaryFolder, writeSafetensors } from '../traces/support/files.js';

const folder = temporaryFolder();

function sink(): { stream: Writable; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return { stream, text: () => chunks.join('') };
}

async function run(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  const out = sink();
  const err = sink();
  const terminal = { env: {}, stdout: out.stream, stderr: err.stream, quiet: false };
  const code = await runCli(['node', 'polar-bench', ...args], terminal);
  return { out: out.text(), err: err.text(), code };
}

const failure = async (...args: string[]): Promise<PolarBenchError> => {
  try {
    await run(...args);
  } catch (error) {
    if (error instanceof PolarBenchError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('union-sparsity', () => {
  test('bare: every published model, measured beside predicted', async () => {
    const { out, code } = await run('union-sparsity');
    expect(code).toBe(0);
    for (const model of ['opt-6.7b', 'opt-66b', 'prosparse-llama-2-7b', 'relu-llama-2-7b']) {
      expect(out).toContain(`${model}: Polar Sparsity`);
    }
    expect(out).toMatch(/│ mean +│ 64 +│ 43\.6 +│ - +│ 43\.6 +│ -0\.1 +│ 64 +│/);
    expect(out).toContain('points not fitted (fitted on B = 1, 8, 64)');
  });

  test('json rows have the documented columns, layers and a mean', async () => {
    const { out } = await run(
      'union-sparsity',
      '--model',
      'opt-66b',
      '--batch',
      '64',
      '--layers',
      '0-1',
      '--format',
      'json',
    );
    const document = JSON.parse(out) as { schema_version: number; rows: Record<string, unknown>[] };
    expect(document.schema_version).toBe(1);
    expect(document.rows.map((r) => [r['layer'], r['union_density_mean']])).toEqual([
      [0, 0.018],
      [1, 0.028],
      ['mean', 0.023],
    ]);
  });

  test('a law is drawn, measured and found again', async () => {
    const path = join(folder, 'drawn.safetensors');
    const given = ['--alpha', '0.5', '--beta', '5', '--neurons', '512'];
    await run('union-sparsity', ...given, '--write-trace', path, '--tokens', '3000', '--quiet');
    const { out } = await run('union-sparsity', '--trace', path, '--batch', '1,8,64', '--format', 'csv');
    const lines = out
      .trim()
      .split('\r\n')
      .map((line) => line.split(','));
    expect(lines[0]?.slice(0, 4)).toEqual(['model', 'layer', 'batch_size', 'union_density_mean']);
    // u(1) = 0.5 / 5.5; the standard error of drawing 512 probabilities is 0.005.
    expect(Math.abs(Number(lines[1]?.[3]) - 1 / 11)).toBeLessThan(0.02);
    expect(lines).toHaveLength(1 + 3 + 3);
  });

  test('--out holds the rows, two plots and the head counts', async () => {
    const path = writeSafetensors(join(folder, 'heads.safetensors'), [
      masks(0, 8, [[1], [2], [3], [1]]),
      floats('layers.0.attention.head_norms', [
        [1, 2],
        [2, 1],
        [1, 2],
        [1, 2],
      ]),
    ]);
    const out = join(folder, 'out');
    const result = await run('union-sparsity', '--trace', path, '--batch', '1,2', '--out', out);
    expect(result.out).toMatch(/│ 2 +│ 50\.0 +│/);
    expect(readdirSync(out).toSorted()).toEqual([
      'heads.csv',
      'union-by-batch-heads.svg',
      'union-by-layer-heads.svg',
      'union.csv',
    ]);
    expect(readFileSync(join(out, 'heads.csv'), 'utf8')).toBe(
      'layer,head,tokens_selected,tokens\r\n0,0,1,4\r\n0,1,3,4\r\n',
    );
  });

  test('a trace of head norms alone shows the heads', async () => {
    const path = writeSafetensors(join(folder, 'norms.safetensors'), [
      floats('layers.0.attention.head_norms', [
        [1, 2],
        [2, 1],
      ]),
    ]);
    const { out } = await run(
      'union-sparsity',
      '--trace',
      path,
      '--batch',
      '1,2',
      '--out',
      join(folder, 'norms'),
    );
    expect(out).toMatch(/^Heads, mean of 1 layers; two tokens share 0\.0 % of their heads/);
    expect(out).toMatch(/│ 2 +│ 50\.0 +│ 100\.0 +│/);
    expect(readdirSync(join(folder, 'norms')).toSorted()).toEqual(['heads.csv', 'union.csv']);
  });

  test.each([
    [['--model', 'opt-66'], 'Expected a model with a published union curve for --model, got "opt-66"'],
    [['--model', 'opt-66b', '--trace', 'x'], 'Expected either --model or --trace'],
    [['--alpha', '1'], 'Expected both --alpha and --beta'],
    [['--alpha', '0', '--beta', '1'], 'for --alpha, got "0"'],
    [['--source', 'trace'], 'Expected data for --source trace'],
    [['--model', 'opt-66b', '--layers', '64'], 'Expected layers 0 to 63 (opt-66b) for --layers, got 64'],
    [['--model', 'opt-66b', '--layers', '3-1'], 'Expected layers such as 0,3,8-15 for --layers'],
    [['--correlation', '1.5'], 'for --correlation, got "1.5"'],
    [['--write-trace', 'x'], 'Expected one --model, or --alpha'],
    [['--alpha', '1', '--beta', '1', '--write-trace', 'x'], 'Expected --neurons'],
    [['--batch', '0'], '--batch'],
  ])('%j is a usage error', async (args, message) => {
    const error = await failure('union-sparsity', ...args);
    expect(error.message).toContain(message);
    expect(error.exitCode).toBe(2);
    expect(existsSync('x')).toBe(false);
  });
});

describe('topk', () => {
  const path = (): string =>
    writeSafetensors(join(folder, 'topk.safetensors'), [
      masks(0, 8, [
        [0, 1, 2],
        [0, 1, 2, 3, 4],
      ]),
      floats('layers.0.mlp.router_logits', [
        [8, 7, 6, 5, 4, 3, 2, 1],
        [8, 7, 6, 5, 4, 3, 2, 1],
      ]),
    ]);

  test('prints the authors’ format and writes files that --mlp-topk reads', async () => {
    const out = join(folder, 'topk');
    const args = ['topk', '--trace', path(), '--batch', '1,2', '--recall', '1', '--step', '3', '--out', out];
    expect((await run(...args)).out).toBe('layer,batch_size,optimal_k\n0,1,5\n0,2,5\n');
    expect(readdirSync(out)).toEqual(['mlp_router_configs_bsize_1.csv', 'mlp_router_configs_bsize_2.csv']);
    expect(loadTopkTable(out).byBatch.get(2)).toEqual([5]);
  });

  test('--greedy says where it differs', async () => {
    const { out, err } = await run(
      'topk',
      '--trace',
      path(),
      '--batch',
      '2',
      '--recall',
      '1',
      '--step',
      '3',
      '--greedy',
    );
    expect(out).toBe('layer,batch_size,optimal_k\n0,2,6\n');
    expect(err).toContain('greedy and exact k differ in 1 of 1 rows, by 1 neurons on average');
  });

  test('refuses what it cannot do', async () => {
    expect((await failure('topk')).message).toContain('Expected at least one file for --trace');
    for (const recall of ['0', '1.01', '-1', 'x']) {
      expect((await failure('topk', '--trace', path(), `--recall=${recall}`)).message).toContain(
        'for --recall',
      );
    }
    expect(await failure('topk', '--trace', join(folder, 'absent'))).toBeInstanceOf(TraceError);
  });
});

test('parseLayers', () => {
  expect(parseLayers('3,0, 8-10')).toEqual([0, 3, 8, 9, 10]);
});

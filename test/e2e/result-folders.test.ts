import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { MAIN, runCli, temporaryFolder } from '../support/cli.js';
import { FOUR_FILES, rowsOf, samplesIn, SMALL } from '../support/small-sweep.js';

describe('a finished sweep of two cells', () => {
  let finished: string;
  beforeAll(() => {
    finished = join(tmpdir(), `polar-bench-finished-${process.pid}`);
    const result = runCli(['sweep', ...SMALL, '--batch', '1,2', '--out', finished]);
    if (result.status !== 0) throw new Error(result.stderr);
    return () => rmSync(finished, { recursive: true });
  }, 60_000);

  const copy = (): string => {
    const folder = join(temporaryFolder(), 'copy');
    cpSync(finished, folder, { recursive: true });
    return folder;
  };
  const edit = (path: string, change: (text: string) => string): void =>
    writeFileSync(path, change(readFileSync(path, 'utf8')));

  test('is resumed over a stale lock, without measuring anything again', () => {
    const folder = copy();
    const before = readFileSync(join(folder, 'samples.jsonl'), 'utf8');
    // A process id that was used before and belongs to somebody else by now: this very test.
    const stale = { pid: process.pid, host: execFileSync('hostname').toString().trim(), startTicks: '1' };
    writeFileSync(join(folder, '.lock'), JSON.stringify(stale));
    const result = runCli(['sweep', '--resume', folder]);
    expect(result).toMatchObject({ status: 0 });
    expect(readFileSync(join(folder, 'samples.jsonl'), 'utf8')).toBe(before);
    expect(readdirSync(folder).toSorted()).toEqual(FOUR_FILES);
  });

  test.each([
    [
      'another device',
      'env.json',
      (t: string) => t.replace(/("name": )"[^"]*"/, '$1"Other"'),
      /device: .* instead of Other/,
    ],
    [
      'another build',
      'env.json',
      (t: string) => t.replace(/("polar_bench_version": )"[^"]*"/, '$1"0.0.0"'),
      /polar_bench_version/,
    ],
    ['no JSON', 'env.json', () => '{', /no usable env\.json/],
    [
      'a plan of other cells',
      'plan.json',
      (t: string) => t.replaceAll('|B1|', '|B7|').replace('"batch_size": 1,', '"batch_size": 7,'),
      /a cell that is not planned/,
    ],
    [
      'a cell under the key of another',
      'plan.json',
      (t: string) => t.replaceAll('|B1|', '|B7|'),
      /a key that is not that of the cell/,
    ],
    [
      'a sample that cannot be',
      'samples.jsonl',
      (t: string) => t.replace(/"samples_ns":\[/, '"samples_ns":[-1,'),
      /E_TRACE/,
    ],
    ['no plan', 'plan.json', () => '[]', /no usable plan\.json/],
  ])('is not resumed with %s', (_, file, change, says) => {
    const folder = copy();
    edit(join(folder, file), change);
    const result = runCli(['sweep', '--resume', folder]);
    expect(result).toMatchObject({ status: 2 });
    expect(result.stderr).toMatch(says);
  });

  test('is not resumed to measure something else, nor where there is nothing', () => {
    const other = runCli(['sweep', '--resume', copy(), '--batch', '7']);
    expect(other.status).toBe(2);
    expect(other.stderr).toContain('Expected no --batch beside --resume');
    const absent = runCli(['sweep', '--resume', join(temporaryFolder(), 'absent')]);
    expect(absent.status).toBe(2);
    expect(absent.stderr).toContain('Expected a writable result folder for --resume');
    const empty = runCli(['sweep', '--resume', temporaryFolder()]);
    expect(empty.status).toBe(2);
    expect(empty.stderr).toContain('no usable plan.json');
  });

  test('compares with itself, and warns of rows that were edited', () => {
    expect(runCli(['compare', finished, finished]).status).toBe(0);
    const edited = copy();
    // The first latency behind the count of samples, three times as long.
    edit(join(edited, 'rows.csv'), (text) =>
      text.replace(/(,dense,,\d+,)([\d.]+),([\d.]+),([\d.]+)/, (_, head: string, ...us: string[]) =>
        [head + String(3 * Number(us[0])), 3 * Number(us[1]), 3 * Number(us[2])].join(','),
      ),
    );
    const result = runCli(['compare', finished, edited]);
    expect(result.status).toBe(5);
    expect(result.stderr).toMatch(
      /head: rows whose latency is not the median of their samples.*attention\/dense B=1/,
    );
    const alone = runCli(['compare', join(finished, 'rows.csv'), join(edited, 'rows.csv')]);
    expect(alone.status).toBe(5);
    expect(alone.stderr).toBe('');
  });
});

describe('shards', () => {
  test('are merged when they are of one plan; what is missing is named', { timeout: 120_000 }, () => {
    const root = temporaryFolder();
    const shard = (index: number): string => {
      const folder = join(root, String(index));
      const result = runCli([
        'sweep',
        ...SMALL,
        '--batch',
        '1-3+1',
        '--shard',
        `${index}/2`,
        '--out',
        folder,
      ]);
      expect(result).toMatchObject({ status: 0 });
      return folder;
    };
    const [first, second] = [shard(1), shard(2)];
    const odd = join(root, 'odd');
    cpSync(second, odd, { recursive: true });
    const plan = join(odd, 'plan.json');
    writeFileSync(plan, readFileSync(plan, 'utf8').replace('"max_time_s": 0.05', '"max_time_s": 10'));

    const whole = runCli(['merge', second, first, '--out', join(root, 'whole'), '--format', 'json']);
    expect(whole).toMatchObject({ status: 0 });
    expect(samplesIn(join(root, 'whole')).map((line) => line.cell.batch_size)).toEqual([1, 2, 3]);
    expect(rowsOf(whole.stdout).map((row) => row['batch_size'])).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3]);
    expect(runCli(['compare', join(root, 'whole'), join(root, 'whole')]).status).toBe(0);

    const part = runCli(['merge', first, '--out', join(root, 'part')]);
    expect(part.status).toBe(1);
    expect(part.stderr).toContain('shard 2/2 is not among the folders');
    expect(part.stderr).toContain('missing: tiny-opt attention B=2 N=64');

    const refused = [
      [[first, odd], /plan: another one/],
      [[first, first], /Expected each cell once/],
      [[first, root], /no usable plan\.json/],
    ] as const;
    for (const [folders, says] of refused) {
      const result = runCli(['merge', ...folders, '--out', join(root, 'refused')]);
      expect(result.status).toBe(2);
      expect(result.stderr).toMatch(says);
      expect(existsSync(join(root, 'refused'))).toBe(false);
    }
    const environment = join(second, 'env.json');
    writeFileSync(
      environment,
      readFileSync(environment, 'utf8').replace(/("cpu": )"[^"]*"/, '$1"Other CPU"'),
    );
    const machines = runCli(['merge', first, second, '--out', join(root, 'refused')]);
    expect(machines.status).toBe(2);
    expect(machines.stderr).toContain('cpu: Other CPU instead of');
    const many = runCli(['sweep', ...SMALL, '--batch', '1', '--shard', '2/2', '--out', join(root, 'empty')]);
    expect(many.status).toBe(2);
    expect(many.stderr).toContain('at most 1 shards');
  });
});

describe('a full disk', () => {
  /** The program on a file system of 330 KB, or where the system mounts none, with files of 200 KB at most: one cell fits, 60 do not. */
  function withLittleSpace(folder: string, args: readonly string[]): { status: number; stderr: string } {
    mkdirSync(folder);
    const mount = `mount -t tmpfs -o size=330k tmpfs "$1" 2>/dev/null || { trap '' XFSZ; ulimit -f 200; }`;
    // The namespace of its own goes with the mount in it; what is written comes out through a copy.
    const script = `${mount}; shift; "$@"; code=$?; cp -r "$FOLDER"/out "$FOLDER".kept; exit $code`;
    const inside = ['bash', '-c', script, 'bash', folder, process.execPath, MAIN, ...args];
    const isolated = `unshare -m true 2>/dev/null && exec unshare -m "$@" || exec "$@"`;
    try {
      execFileSync('bash', ['-c', isolated, 'bash', ...inside], {
        env: { ...process.env, FOLDER: folder, NO_COLOR: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      return { status: 0, stderr: '' };
    } catch (error) {
      const { status, stderr } = error as { status: number; stderr: Buffer };
      return { status, stderr: stderr.toString() };
    }
  }

  test('ends with exit 1 and the path; what was written before is whole', { timeout: 120_000 }, () => {
    const folder = join(temporaryFolder(), 'small');
    const flags = [...SMALL, '--max-time', '0.1', '--max-noise', '0.0001', '--min-samples', '100000'];
    const out = join(folder, 'out');
    const { status, stderr } = withLittleSpace(folder, [
      'sweep',
      ...flags,
      '--batch',
      '1-60+1',
      '--out',
      out,
    ]);
    expect({ status, stderr }).toMatchObject({ status: 1 });
    expect(stderr).toMatch(
      /error: Expected to write .*(samples\.jsonl|rows\.csv).*(ENOSPC|EFBIG).*\[E_SINK\]/,
    );
    expect(stderr).toContain('continue with: polar-bench sweep --resume');
    const kept = `${folder}.kept`;
    const samples = samplesIn(kept);
    const rows = readFileSync(join(kept, 'rows.csv'), 'utf8').trimEnd().split('\r\n');
    expect(samples.length).toBeGreaterThan(0);
    // The cell that did not fit may have its samples and not yet its rows; never the other way round.
    expect([3 * samples.length, 3 * (samples.length - 1)]).toContain(rows.length - 1);
    expect(readdirSync(kept).filter((name) => name.includes('tmp'))).toEqual([]);
  });
});

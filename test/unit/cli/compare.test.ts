import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { parseFailOn } from '../../../src/cli/compare.js';
import { gateExitCode } from '../../../src/cli/gate-output.js';
import { runCli } from '../../../src/cli/program.js';
import type { Row } from '../../../src/core/row.js';
import type { GateVerdict, Verdict } from '../../../src/core/verdict.js';
import { csvHeader, csvRows } from '../../../src/sinks/csv.js';
import { baselineRow, HOSTILE, unmeasuredRow } from '../sinks/sample-rows.js';
import { recordedTerminal, type RecordedTerminal } from '../../support/terminal.js';

const root = mkdtempSync(join(tmpdir(), 'polar-compare-'));
afterAll(() => rmSync(root, { recursive: true }));

function row(batch: number, us: number, more: Partial<Row> = {}): Row {
  return {
    ...baselineRow,
    batch_size: batch,
    latency_us_median: us,
    latency_us_ci_low: us * 0.998,
    latency_us_ci_high: us * 1.002,
    ...more,
  };
}

let count = 0;
function csv(rows: readonly Row[]): string {
  const path = join(root, `${(count += 1)}.csv`);
  writeFileSync(path, csvHeader() + csvRows(rows));
  return path;
}

function folder(rows: readonly Row[], files: Record<string, string> = {}): string {
  const path = join(root, `folder-${(count += 1)}`);
  mkdirSync(path);
  writeFileSync(join(path, 'rows.csv'), csvHeader() + csvRows(rows));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

let terminal: RecordedTerminal;
beforeEach(() => {
  terminal = recordedTerminal();
});

const compare = (base: string, head: string, ...flags: string[]): Promise<number> =>
  runCli(['node', 'polar-bench', 'compare', base, head, ...flags], terminal);

interface Report {
  counts: Record<string, number>;
  verdicts: { title: string; verdict: string; effect: number | null; reason: string | null }[];
}
async function json(base: string, head: string, ...flags: string[]): Promise<Report> {
  await compare(base, head, '--format', 'json', ...flags);
  return JSON.parse(terminal.out()) as Report;
}

const BASE = [row(1, 100), row(2, 200), row(4, 400)];

describe('exit codes of compare', () => {
  it('is 0 where nothing changed', async () => {
    expect(await compare(csv(BASE), csv(BASE))).toBe(0);
    expect(terminal.out()).toContain('3 same; threshold 5 %');
  });

  it('is 5 for a regression, and says which', async () => {
    expect(await compare(csv(BASE), csv([row(1, 100), row(2, 240), row(4, 400)]))).toBe(5);
    expect(terminal.out()).toContain('regressed');
    expect(terminal.out()).toContain('+20.0 %');
  });

  it('is 0 for an improvement and for missing cells, 6 for the latter with --strict', async () => {
    expect(await compare(csv(BASE), csv([row(1, 80), row(2, 200), row(4, 400)]))).toBe(0);
    expect(await compare(csv(BASE), csv(BASE.slice(1)))).toBe(0);
    expect(await compare(csv(BASE), csv(BASE.slice(1)), '--strict')).toBe(6);
  });

  it('is 6 with --strict for what is inconclusive, 0 without', async () => {
    const unclear = csv([row(1, 104.5), row(2, 200), row(4, 400)]);
    expect(await compare(csv(BASE), unclear)).toBe(0);
    expect(await compare(csv(BASE), unclear, '--strict')).toBe(6);
  });

  it('is 6 where nothing is comparable', async () => {
    expect(await compare(csv(BASE), csv([row(99, 100)]))).toBe(6);
    expect(terminal.out()).toContain('3 missing, 1 new');
    expect(await compare(csv([]), csv([]))).toBe(6);
  });

  it('is 4 when head became incorrect and 1 when it failed', async () => {
    const lost = (status: 'incorrect' | 'failed'): Row =>
      unmeasuredRow(status, 'planted', { ...placeOf(row(2, 200)) });
    const placeOf = (r: Row): Partial<Row> => ({
      batch_size: r.batch_size,
      kernel: r.kernel,
      variant: r.variant,
      active_heads: r.active_heads,
      head_density: r.head_density,
    });
    expect(await compare(csv(BASE), csv([row(1, 100), lost('incorrect'), row(4, 400)]))).toBe(4);
    expect(await compare(csv(BASE), csv([row(1, 100), lost('failed'), row(4, 400)]))).toBe(1);
    expect(terminal.out()).toContain('failed: planted');
  });

  it('is 2 for wrong flags and for what is no result', async () => {
    await expect(compare(csv(BASE), join(root, 'absent'))).rejects.toMatchObject({ exitCode: 2 });
    const bare = join(root, 'bare');
    mkdirSync(bare);
    await expect(compare(csv(BASE), bare)).rejects.toMatchObject({ exitCode: 2 });
    await expect(compare(csv(BASE), csv(BASE), '--fail-on', 'speed:2%')).rejects.toMatchObject({
      exitCode: 2,
    });
    await expect(compare(csv(BASE), csv(BASE), '--format', 'xml')).rejects.toMatchObject({ exitCode: 2 });
    const empty = join(root, 'empty.csv');
    writeFileSync(empty, '');
    await expect(compare(csv(BASE), empty)).rejects.toMatchObject({ exitCode: 2, code: 'E_TRACE' });
    writeFileSync(empty, 'a,b\n1,2\n');
    await expect(compare(csv(BASE), empty)).rejects.toThrow('a column backend');
  });
});

describe('the exit code when several apply', () => {
  const verdict = (name: Verdict): GateVerdict => ({
    title: 't',
    verdict: name,
    effect: null,
    interval: null,
    p: null,
    q: null,
    baseUs: null,
    headUs: null,
    baseRuns: 1,
    headRuns: 1,
    reason: null,
  });
  const codeOf = (names: readonly Verdict[], strict: boolean, incorrect: boolean, failed: boolean): number =>
    gateExitCode({ threshold: 0.05, verdicts: names.map(verdict), warnings: [] }, strict, {
      incorrect,
      failed,
    });

  it('is the first of 4, 5, 6, 1, 0', () => {
    const all = ['regressed', 'inconclusive', 'missing', 'same'] as const;
    expect(codeOf(all, true, true, true)).toBe(4);
    expect(codeOf(all, true, false, true)).toBe(5);
    expect(codeOf(all.slice(1), true, false, true)).toBe(6);
    expect(codeOf(all.slice(1), false, false, true)).toBe(1);
    expect(codeOf(all.slice(1), false, false, false)).toBe(0);
    expect(codeOf(['missing', 'new'], false, false, true)).toBe(6);
    expect(codeOf(['improved', 'new'], true, false, false)).toBe(0);
  });
});

describe('conditions that differ', () => {
  it.each([
    ['device', { device: 'NVIDIA A100' }],
    ['driver_version', { driver_version: '550.1' }],
    ['backend', { backend: 'cuda' as const }],
    ['dtype', { dtype: 'fp16' as const }],
    ['cache_mode', { cache_mode: 'hot' as const }],
  ])('ends with 6 and names %s', async (field, more) => {
    const head = csv(BASE.map((r) => ({ ...r, ...more })));
    await expect(compare(csv(BASE), head)).rejects.toMatchObject({ exitCode: 6 });
    expect(terminal.err()).toContain(`not comparable: ${field}: base has`);
    expect(terminal.out()).toContain('nothing comparable');
  });

  it('names the threads of two folders of the CPU; 0 is all of them', async () => {
    const withThreads = (backend: string, threads: number): string =>
      folder(BASE, { 'env.json': JSON.stringify({ backend, threads, host: { cpu_count: 4 } }) });
    expect(await compare(withThreads('cpu', 0), withThreads('cpu', 4))).toBe(0);
    expect(await compare(withThreads('cuda', 0), withThreads('cuda', 2))).toBe(0);
    expect(await compare(withThreads('cpu', 2), csv(BASE))).toBe(0);
    await expect(compare(withThreads('cpu', 0), withThreads('cpu', 2))).rejects.toMatchObject({
      exitCode: 6,
    });
    expect(terminal.err()).toContain('threads: base has "4", head has "2"');
  });
});

describe('--fail-on', () => {
  it('sets the threshold', async () => {
    const head = csv(BASE.map((r) => row(r.batch_size, (r.latency_us_median ?? 0) * 1.08)));
    expect(await compare(csv(BASE), head)).toBe(5);
    expect(await compare(csv(BASE), head, '--fail-on', 'latency:10%')).toBe(0);
  });

  it('reads a percentage of latency and nothing else', () => {
    expect(parseFailOn('latency:2%')).toBe(0.02);
    expect(parseFailOn(' latency:2.5% ')).toBe(0.025);
    for (const bad of ['2%', 'latency:2', 'latency:0%', 'latency:-1%', 'latency:1e9%', 'throughput:2%', '']) {
      expect(() => parseFailOn(bad)).toThrow('latency:PERCENT%');
    }
  });

  it('never goes below what the A/A spread allows', async () => {
    const noisy = folder(BASE, { 'env.json': JSON.stringify({ aa_spread: { relative_spread: 0.1 } }) });
    const head = csv(BASE.map((r) => row(r.batch_size, (r.latency_us_median ?? 0) * 1.1)));
    expect(await compare(noisy, head)).toBe(0);
    expect(terminal.err()).toContain('raises the threshold');
    expect(terminal.out()).toContain('threshold 12 %');
  });

  it('takes the A/A spread of the noisiest shard of a merged folder', async () => {
    const shards = [{ aa_spread: { relative_spread: 0.1 } }, { aa_spread: null }, {}];
    const merged = folder(BASE, {
      'env.json': JSON.stringify({ aa_spread: { relative_spread: 0.01 }, shards }),
    });
    expect(await compare(merged, csv(BASE))).toBe(0);
    expect(terminal.out()).toContain('threshold 12 %');
  });

  it.each(['1e999', '1.5', '-0.1'])('is not moved by an A/A spread of %s', async (spread) => {
    const odd = folder(BASE, { 'env.json': `{"aa_spread": {"relative_spread": ${spread}}}` });
    expect(await compare(odd, csv(BASE.map((r) => row(r.batch_size, 2 * (r.latency_us_median ?? 0)))))).toBe(
      5,
    );
    expect(terminal.err()).toContain('cannot be and is not used');
  });
});

describe('several runs a side', () => {
  it('are folders in a folder, or run ids in a file', async () => {
    const runs = (factor: number): string => {
      const parent = join(root, `runs-${(count += 1)}`);
      mkdirSync(parent);
      for (let i = 0; i < 9; i += 1) {
        mkdirSync(join(parent, `${i}`));
        const rows = [row(1, 100 * factor * (1 + 0.002 * i), { run_id: `run-${i}` })];
        writeFileSync(join(parent, `${i}`, 'rows.csv'), csvHeader() + csvRows(rows));
      }
      return parent;
    };
    expect(await compare(runs(1), runs(1.1))).toBe(5);
    const ids = (factor: number): string =>
      csv(Array.from({ length: 9 }, (_, i) => row(1, 100 * factor * (1 + 0.002 * i), { run_id: `${i}` })));
    terminal = recordedTerminal();
    const report = await json(ids(1), ids(1.1));
    expect(report.verdicts[0]).toMatchObject({ verdict: 'regressed', base_runs: 9, head_runs: 9 });
  });
});

describe('values that cannot be', () => {
  it.each(['NaN', '-5', '', '0', 'Infinity', 'fast', '1e999'])(
    'leaves out a latency of "%s"',
    async (bad) => {
      const head = csv(BASE);
      writeFileSync(head, readFileSync(head, 'utf8').replace(/,200,(?=199\.6)/, `,${bad},`));
      const report = await json(csv(BASE), head);
      expect(report.counts).toMatchObject({ same: 2, missing: 1 });
      expect(terminal.err()).toContain('rows without a usable latency are left out: line 3');
    },
  );

  it('warns of a row that occurs twice in one run', async () => {
    const report = await json(csv(BASE), csv([...BASE, row(1, 500)]));
    expect(report.counts).toMatchObject({ same: 3 });
    expect(terminal.err()).toContain('rows that occur twice');
  });
});

describe('rows.csv against samples.jsonl', () => {
  const line = (batch: number, ns: number): string =>
    JSON.stringify({
      cell: {
        model: { name: baselineRow.model },
        scope: 'attention',
        batch_size: batch,
        kv_len: baselineRow.kv_len,
        candidates: [{ active_heads: 32, active_neurons: null }],
      },
      candidates: [{ kernel: 'attention/dense', variant: 'dense', status: 'ok', samples_ns: [ns, null, ns] }],
    });

  it('is quiet when they agree', async () => {
    const samples = [line(1, 1e5), line(2, 2e5), line(4, 4e5)].join('\n');
    expect(await compare(folder(BASE, { 'samples.jsonl': `${samples}\n` }), csv(BASE))).toBe(0);
    expect(terminal.err()).toBe('');
  });

  it('names the rows that do not match', async () => {
    const samples = `${line(1, 1e5)}\n${line(2, 1.9e5)}\nnot json\n${line(8, 1e5)}\n${line(4, 4e5).slice(0, 40)}`;
    await compare(folder(BASE, { 'samples.jsonl': samples }), csv(BASE));
    expect(terminal.err()).toMatch(/not the median of their samples.*attention\/dense B=2 N=2048/);
    expect(terminal.err()).toMatch(/B=4 N=2048 has no samples/);
    expect(terminal.err()).toMatch(/attention\/dense B=8 N=2048 has samples and no row/);
    expect(terminal.err()).toContain('the last line was cut off');
    expect(terminal.err()).toContain('cannot be read: line 3');
  });
});

describe('untrusted text', () => {
  const hostile = Object.values(HOSTILE).flatMap((model, i) => [row(i + 1, 100, { model })]);
  const attack = '::error::x\u001b[2J%0A##[add-mask]y, title=z';

  it('reaches the CSV, the table, Markdown, JSON and annotations without control characters', async () => {
    const rows = [...hostile, row(77, 100, { model: attack })];
    const slower = rows.map((r) => ({
      ...r,
      latency_us_median: 150,
      latency_us_ci_low: 149,
      latency_us_ci_high: 151,
    }));
    const summary = join(root, 'summary.md');
    for (const format of ['table', 'md', 'json', 'github']) {
      terminal = recordedTerminal({ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary });
      expect(await compare(csv(rows), csv(slower), '--format', format)).toBe(5);
      const all = terminal.out() + terminal.err() + readFileSync(summary, 'utf8');
      // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
      expect(all).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
      expect(all).not.toContain('##[');
      const commands = all.split('\n').filter((l) => l.trimStart().startsWith('::'));
      expect(commands.length).toBe(hostile.length + 1);
      for (const c of commands) expect(c).toMatch(/^::error title=regressed%3A [^:,]*::\+50\.0 %25 \(/);
    }
  });

  it('survives a CSV whose quoted fields hold line breaks', async () => {
    const path = csv(BASE);
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll('llama-3-8b,cpu', '"a\r\nb,""c""\u001b",cpu'));
    expect(await compare(path, path)).toBe(0);
    expect(terminal.out()).toContain('b,"c"');
    expect(terminal.out()).not.toContain('\u001b');
  });
});

describe('on GitHub', () => {
  it('writes the summary and at most ten annotations even when the gate fails', async () => {
    const summary = join(root, 'fails.md');
    terminal = recordedTerminal({ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary });
    const base = Array.from({ length: 25 }, (_, i) => row(i + 1, 100));
    const head = base.map((r) => row(r.batch_size, 150));
    expect(await compare(csv(base), csv(head))).toBe(5);
    expect(readFileSync(summary, 'utf8')).toContain('**25 regressed; threshold 5 %**');
    expect(terminal.err().match(/^::error /gm)?.length).toBe(10);
  });

  it('annotates what is inconclusive only where that fails the gate', async () => {
    const head = csv([row(1, 104.5), row(2, 200)]);
    terminal = recordedTerminal({ GITHUB_ACTIONS: 'true' });
    expect(await compare(csv(BASE), head)).toBe(0);
    expect(terminal.err().match(/^::.*/gm)).toEqual([
      expect.stringMatching(/^::warning title=missing%3A .* B=4 N=2048::missing$/),
    ]);
    for (const format of ['table', 'github']) {
      terminal = recordedTerminal({ GITHUB_ACTIONS: 'true' });
      expect(await compare(csv(BASE), head, '--strict', '--format', format)).toBe(6);
      const said = (terminal.out() + terminal.err()).match(/^::warning title=\w+/gm);
      expect(said).toEqual(['::warning title=inconclusive', '::warning title=missing']);
    }
  });

  it('keeps the verdict when the summary cannot be written, and fails with 1 where there is none', async () => {
    terminal = recordedTerminal({ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: root });
    expect(await compare(csv(BASE), csv([row(1, 150), row(2, 200), row(4, 400)]))).toBe(5);
    expect(terminal.err()).toMatch(/warning: Expected to write .*EISDIR/);
    await expect(compare(csv(BASE), csv(BASE))).rejects.toMatchObject({ code: 'E_SINK', exitCode: 1 });
  });

  it('writes the summary when nothing is comparable', async () => {
    const summary = join(root, 'differs.md');
    terminal = recordedTerminal({ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary });
    const head = csv(BASE.map((r) => ({ ...r, device: 'other' })));
    await expect(compare(csv(BASE), head)).rejects.toMatchObject({ exitCode: 6 });
    expect(readFileSync(summary, 'utf8')).toContain('not comparable: device');
  });
});

describe('large result sets', () => {
  it('compares 100,000 rows a side in under 5 s and 500 MB', () => {
    const rows = (factor: number): string => {
      const path = join(root, `large-${factor}.csv`);
      const [header, one] = (csvHeader() + csvRows([row(123_456, 100 * factor)])).split('\r\n');
      const lines = Array.from({ length: 100_000 }, (_, i) => one?.replace('123456', String(i + 1)));
      writeFileSync(path, [header, ...lines, ''].join('\r\n'));
      return path;
    };
    const [base, head] = [rows(1), rows(1.2)];
    // On a machine that other tests share the wall clock counts their time too; processor time is what this one needs.
    const script = `
      const { runCli } = await import(process.argv[1]);
      const quiet = { write: () => true };
      const started = performance.now();
      const code = await runCli(['node', 'x', 'compare', process.argv[2], process.argv[3], '--format', 'json'],
        { env: {}, stdout: quiet, stderr: quiet, quiet: false });
      const wall = (performance.now() - started) / 1000;
      const { user, system } = process.cpuUsage();
      const seconds = Math.min(wall, (user + system) / 1e6);
      console.log(JSON.stringify({ code, seconds, megabytes: process.resourceUsage().maxRSS / 1024 }));`;
    const program = fileURLToPath(new URL('../../../dist/cli/program.js', import.meta.url));
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script, program, base, head]);
    const found = JSON.parse(output.toString()) as { code: number; seconds: number; megabytes: number };
    expect(found.code).toBe(5);
    expect(found.seconds).toBeLessThan(5);
    expect(found.megabytes).toBeLessThan(500);
  });
});

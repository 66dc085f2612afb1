// What `ab` says on a real machine: a build against itself, and against one with a kernel delayed by 5 %, several times
// each. docs/ci.md quotes it. Usage, in a clone after `npm run build:test`, or in an unpacked bundle that has
// build-test/Release beside its dist:
//   node scripts/gate-experiment.mjs [--runs N] [--kind self,planted] [--parallel P] [--rounds N] [--out FILE]
// Every run is pinned to two CPUs of its own. Measure on a quiet machine with at least 2 P + 1 of them.
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const ROOT = resolve(import.meta.dirname, '..');
const KERNEL = 'attention/selective-head';
const DELAY = 0.05;
const KINDS = ['planted', 'self'];
const CPUS_PER_RUN = 2;
/** 5 batch sizes x 4 lengths = 20 cells of three kernels. */
const CELLS =
  '--model tiny-opt --backend cpu --scope attention --batch 2,3,4,6,8 --seq 128-1024*2 --threads 1 --cache hot --max-time 0.1 --fail-on latency:2%'.split(
    ' ',
  );

function fail(expected, got) {
  process.stderr.write(`Expected ${expected}, got ${got}\n`);
  process.exit(2);
}

function options() {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '10' },
      kind: { type: 'string', default: KINDS.join(',') },
      parallel: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '8' },
      faulty: { type: 'string', default: join(ROOT, 'build-test/Release') },
      out: { type: 'string' },
    },
  });
  const count = (name) => {
    const value = Number(values[name]);
    return Number.isInteger(value) && value >= 1 ? value : fail(`a count for --${name}`, values[name]);
  };
  const kinds = values.kind.split(',');
  const unknown = kinds.find((kind) => !KINDS.includes(kind));
  if (unknown !== undefined) fail('self or planted for --kind', unknown);
  if (!existsSync(join(values.faulty, 'polar_bench.node')))
    fail('a build with planted faults for --faulty', values.faulty);
  return {
    ...values,
    kinds,
    runs: count('runs'),
    parallel: count('parallel'),
    faulty: resolve(values.faulty),
  };
}

/** Allowed CPUs, the threads of one core side by side: so that no two runs share a core. */
function allowedCpus() {
  const list = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const cpus = list.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  const coreOf = (cpu) => {
    const at = `/sys/devices/system/cpu/cpu${cpu}/topology`;
    const number = (name) =>
      existsSync(`${at}/${name}`) ? Number(readFileSync(`${at}/${name}`, 'utf8')) : cpu;
    return number('physical_package_id') * 65_536 + number('core_id');
  };
  return cpus
    .map((cpu) => ({ cpu, core: coreOf(cpu) }))
    .toSorted((a, b) => a.core - b.core || a.cpu - b.cpu)
    .map(({ cpu }) => cpu);
}

/** A folder as `ab` takes it: this code with the addon that can be faulty, and the fault of this folder alone. */
function buildFolder(folder, addonFolder, fault) {
  mkdirSync(join(folder, 'build'), { recursive: true });
  // A copy, not a link: the measuring process finds its addon by the place of its own file.
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  symlinkSync(addonFolder, join(folder, 'build/Release'));
  if (fault === null) return folder;
  const host = join(folder, 'dist/backends/host');
  renameSync(join(host, 'child.js'), join(host, 'child-itself.js'));
  const plant = `process.env.POLAR_BENCH_FAULT = ${JSON.stringify(fault)};`;
  writeFileSync(join(host, 'child.js'), `${plant}\nawait import('./child-itself.js');\n`);
  return folder;
}

const running = new Set();

/** One `ab` on its own CPUs; resolves with what it found. */
function runAb(job, base, head, cpus, flags) {
  const started = performance.now();
  const cli = [process.execPath, join(ROOT, 'dist/main.js'), 'ab', '--base', base, '--head', head];
  const child = spawn('taskset', ['-c', cpus.join(','), ...cli, ...flags, '--quiet', '--format', 'json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  return new Promise((done, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      running.delete(child);
      const seconds = Math.round((performance.now() - started) / 1000);
      if (status !== 0 && status !== 5) return done({ ...job, status, seconds, error: err.slice(-500) });
      done({ ...job, status, seconds, ...judged(JSON.parse(out).verdicts, job.kind) });
    });
  });
}

/** Which verdicts are right, given what was planted. */
function judged(verdicts, kind) {
  const planted = verdicts.filter((v) => kind === 'planted' && v.title.includes(` ${KERNEL} `));
  const others = verdicts.filter((v) => !planted.includes(v));
  const count = (list, verdict) => list.filter((v) => v.verdict === verdict).length;
  const wrong = others.filter((v) => v.verdict === 'regressed' || v.verdict === 'improved');
  return {
    kernels: verdicts.length,
    planted: planted.length,
    found: count(planted, 'regressed'),
    plantedMedianEffect:
      planted.map((v) => v.effect ?? 0).toSorted((a, b) => a - b)[planted.length >> 1] ?? null,
    falseRegressions: count(others, 'regressed'),
    falseImprovements: count(others, 'improved'),
    same: count(others, 'same'),
    inconclusive: count(others, 'inconclusive'),
    wrong: wrong.map((v) => `${v.verdict} ${v.title} ${(100 * v.effect).toFixed(2)} %`),
  };
}

/** One row of the table over all runs of a kind. */
function summary(kind, results) {
  const done = results.filter((r) => r.kind === kind && r.error === undefined);
  const sum = (key) => done.reduce((total, r) => total + r[key], 0);
  const others = sum('kernels') - sum('planted');
  const found = done.filter((r) => r.found > 0);
  const least = Math.min(...done.map((r) => r.found));
  const most = Math.max(...done.map((r) => r.found));
  const cells = `${found.length} of ${done.length}, in ${least} to ${most} of ${done[0]?.planted} cells`;
  return [
    kind === 'self' ? 'a build against itself' : `${100 * DELAY} % planted in ${KERNEL}`,
    done.length,
    kind === 'self' || done.length === 0 ? '-' : cells,
    `${sum('falseRegressions')} of ${others} in ${done.filter((r) => r.falseRegressions > 0).length} runs`,
    `${sum('falseImprovements')} of ${others} in ${done.filter((r) => r.falseImprovements > 0).length} runs`,
    `${sum('same')} same, ${sum('inconclusive')} inconclusive`,
  ];
}

const HEAD = [
  '`ab`',
  'runs',
  'runs that found it',
  'false regressions',
  'false improvements',
  'other verdicts',
];

const { kinds, runs, parallel, rounds, faulty, out } = options();
const flags = [...CELLS, '--rounds', String(rounds)];
const cpus = allowedCpus();
if (cpus.length < CPUS_PER_RUN * parallel)
  fail(`at least ${CPUS_PER_RUN * parallel} CPUs for --parallel ${parallel}`, cpus.length);
if (spawnSync('taskset', ['--version']).status !== 0) fail('taskset (util-linux) on the PATH', 'none');

const work = mkdtempSync(join(os.tmpdir(), 'polar-gate-'));
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
const base = buildFolder(join(work, 'base'), faulty, null);
const heads = {
  self: base,
  planted: buildFolder(join(work, 'head'), faulty, `delay:${KERNEL}:${DELAY}`),
};
const machine = {
  cpu: os.cpus()[0]?.model ?? null,
  cpus: cpus.length,
  kernel: `${os.type()} ${os.release()}`,
  node: process.version,
  loadBefore: os.loadavg()[0],
  parallel,
};
const results = [];
// The longest first: a run that finds something measures it again, and no processor shall wait for it at the end.
const queue = KINDS.filter((kind) => kinds.includes(kind)).flatMap((kind) =>
  Array.from({ length: runs }, (_, i) => ({ kind, run: i + 1 })),
);
const started = performance.now();

async function worker(slot) {
  const own = cpus.slice(CPUS_PER_RUN * slot, CPUS_PER_RUN * (slot + 1));
  for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
    const result = await runAb({ ...job, cpus: own }, base, heads[job.kind], own, flags);
    results.push(result);
    process.stderr.write(`${JSON.stringify(result)}\n`);
    // After every run: what is done survives whatever ends this script.
    if (out !== undefined) writeFileSync(out, `${JSON.stringify({ machine, flags, results }, null, 1)}\n`);
  }
}

await Promise.all(Array.from({ length: parallel }, (_, slot) => worker(slot)));
const line = (fields) => process.stdout.write(`| ${fields.join(' | ')} |\n`);
line(HEAD);
line(HEAD.map(() => '---'));
for (const kind of KINDS.filter((k) => kinds.includes(k))) line(summary(kind, results));
const broken = results.filter((r) => r.error !== undefined);
process.stdout.write(
  `\n${machine.cpu}, ${machine.cpus} CPUs, ${parallel} runs at once, ${Math.round((performance.now() - started) / 1000)} s; ${broken.length} runs broke\n`,
);
process.exitCode = broken.length === 0 ? 0 : 1;

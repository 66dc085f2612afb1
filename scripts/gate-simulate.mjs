// False-alarm rate and power of the regression gate on synthetic data with known truth: docs/ci.md quotes this.
// Usage: npm run gate:simulate [-- SETS [SEED]], after a TypeScript build.
import { NOISE, simulatePaired, simulateStored } from '../dist/gate/simulate.js';
import { PAIRED_ROUNDS } from '../dist/gate/paired.js';

const sets = Number(process.argv[2] ?? 100);
const seed = Number(process.argv[3] ?? 1);
if (!Number.isInteger(sets) || sets < 1 || !Number.isInteger(seed)) {
  process.stderr.write('Expected a count of sets and a seed, both integers\n');
  process.exit(2);
}

/** Runs a gate over many sets and prints one row of the table. */
function row(title, gate, set) {
  const outcomes = Array.from({ length: sets }, (_, i) => gate({ ...set, seed: seed * 1_000_003 + i }));
  const sum = (key) => outcomes.reduce((total, o) => total + o[key], 0);
  const share = (count) => `${count} of ${sets}`;
  const quiet = outcomes.filter((o) => o.falseAlarms === 0).length;
  const unchanged = (set.cells - set.planted) * sets;
  const mostFound =
    set.planted === 0 ? '-' : share(outcomes.filter((o) => o.found >= Math.ceil(0.9 * set.planted)).length);
  const power = set.planted === 0 ? '-' : `${((100 * sum('found')) / (set.planted * sets)).toFixed(1)} %`;
  const alarms = `${sum('falseAlarms')} of ${unchanged}`;
  process.stdout.write(`| ${[title, share(quiet), alarms, power, mostFound].join(' | ')} |\n`);
}

const stored = { cells: 200, samplesPerCell: 20 };
const paired = { cells: 20, samplesPerCell: 10 };
const plant = (set, planted, slowdown) => ({ ...set, planted, slowdown });

process.stdout.write(`noise model: ${JSON.stringify(NOISE)}\n\n`);
process.stdout.write(
  '| gate, set | sets without a false alarm | false alarms | planted cells found | sets with 9 of 10 found |\n',
);
process.stdout.write('| --- | --- | --- | --- | --- |\n');
for (const runs of [1, 5, 9]) {
  const gate = (set) => simulateStored(set, runs);
  const name = `compare, ${runs} ${runs === 1 ? 'run' : 'runs'} a side, 200 cells`;
  row(`${name}, nothing planted`, gate, plant(stored, 0, 0));
  for (const slowdown of [0.05, 0.1]) {
    row(`${name}, 10 cells ${100 * slowdown} % slower`, gate, plant(stored, 10, slowdown));
  }
}
const name = `ab, ${PAIRED_ROUNDS} rounds, 20 cells`;
row(`${name}, nothing planted`, simulatePaired, plant(paired, 0, 0));
for (const slowdown of [0.02, 0.03, 0.05]) {
  row(`${name}, 1 cell ${100 * slowdown} % slower`, simulatePaired, plant(paired, 1, slowdown));
}

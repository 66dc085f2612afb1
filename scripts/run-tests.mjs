// The whole test suite: static checks, native tests, unit, contract and end-to-end tests. Prints what fails and ends
// with one line `N passed, N failed, N skipped` over everything.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const total = { passed: 0, failed: 0, skipped: 0 };

function run(title, command, args, options = {}) {
  const started = Date.now();
  const result = spawnSync(command, args, {
    stdio: options.capture ? ['ignore', 'pipe', 'inherit'] : 'inherit',
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  process.stdout.write(
    `== ${title}: ${result.status === 0 ? 'ok' : 'FAILED'} (${((Date.now() - started) / 1000).toFixed(1)} s)\n`,
  );
  return result;
}

/** A step that passes or fails as a whole. */
function step(title, command, args) {
  total[run(title, command, args).status === 0 ? 'passed' : 'failed']++;
}

function nativeTests() {
  const result = run('native tests', 'build-test/Release/polar_native_tests', [], { capture: true });
  const output = result.stdout ?? '';
  const passed = (output.match(/^ok /gm) ?? []).length;
  const failed = (output.match(/^not ok /gm) ?? []).length;
  if (result.status !== 0) process.stdout.write(output);
  total.passed += passed;
  // A crash has no `not ok` line and is a failure all the same.
  total.failed += result.status !== 0 && failed === 0 ? 1 : failed;
}

function vitest() {
  const report = join(tmpdir(), `polar-bench-vitest-${process.pid}.json`);
  const result = run('unit, contract and end-to-end tests', 'npx', [
    'vitest',
    'run',
    '--reporter=dot',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  if (!existsSync(report)) {
    total.failed++;
    return;
  }
  const json = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(report);
  total.passed += json.numPassedTests;
  total.skipped += json.numPendingTests + json.numTodoTests;
  // A file that cannot be loaded has no failed test of its own.
  const brokenFiles = json.testResults.filter(
    (f) => f.status === 'failed' && f.assertionResults.length === 0,
  ).length;
  total.failed += json.numFailedTests + brokenFiles;
  if (result.status !== 0 && json.numFailedTests + brokenFiles === 0) total.failed++;
}

step('TypeScript build', 'npm', ['run', '--silent', 'build:ts']);
step('static checks', 'npm', ['run', '--silent', 'check']);
step('native build with planted faults', 'npm', [
  'run',
  '--silent',
  'build:test',
  '--',
  '--log-level',
  'error',
]);
nativeTests();
step('decode steps against the fixtures', 'build-test/Release/polar_step_fixtures', [
  'build-test/Release/libpolar_cpu.so',
  'test/fixtures/step',
]);
vitest();
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;

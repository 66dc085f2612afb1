// clang-format over all C++ and CUDA sources; `--check` only reports.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';

const { clangFormatPath } = createRequire(import.meta.url)('clang-format-node');
const files = execFileSync('git', ['ls-files', '*.h', '*.cpp', '*.cu', '*.cuh'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => file !== '');
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
execFileSync(clangFormatPath, [...mode, ...files], { stdio: 'inherit' });

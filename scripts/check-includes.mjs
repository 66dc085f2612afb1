// The include rules of docs/architecture.md:
//   - only the N-API side of the addon includes <napi.h>
//   - nothing under src/native includes a CUDA header; cuda/ does not include a CPU kernel
//   - the C ABI includes nothing but <stdint.h>
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const NAPI_SIDE = /^src\/native\/(addon|marshal|worker|loader|trace_exports)\w*\.(cpp|h)$/;

const RULES = [
  {
    what: '<napi.h> outside the N-API side of the addon',
    applies: (file) => !NAPI_SIDE.test(file),
    forbidden: /^napi\.h$/,
  },
  {
    what: 'a CUDA header under src/native',
    applies: (file) => file.startsWith('src/native/'),
    forbidden: /^(cuda|cublas|nvml|cooperative_groups|nvtx)|\.cuh$|(^|\/)cuda\//,
    // random.h is shared with device code and guards what it needs.
  },
  {
    what: 'a CPU kernel in the CUDA backend',
    applies: (file) => file.startsWith('cuda/'),
    forbidden: /native\/cpu\//,
  },
  {
    what: 'anything but <stdint.h> in the C ABI',
    applies: (file) => file === 'src/native/abi.h',
    forbidden: /^(?!stdint\.h$)/,
  },
  {
    what: 'a kernel or backend header in the addon',
    applies: (file) => NAPI_SIDE.test(file),
    forbidden: /(^|\/)(cpu|reference)\/|common\/backend\.h$/,
  },
];

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'src/native', 'cuda'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => /\.(h|cpp|cu|cuh)$/.test(file));

let broken = 0;
for (const file of files) {
  const includes = [...readFileSync(file, 'utf8').matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map(
    (m) => m[1],
  );
  for (const rule of RULES.filter((r) => r.applies(file))) {
    for (const include of includes.filter((name) => rule.forbidden.test(name))) {
      process.stderr.write(`${file}: includes ${include}: ${rule.what}\n`);
      broken++;
    }
  }
}
process.stdout.write(`includes: ${files.length} files, ${broken} broken rules\n`);
process.exitCode = broken === 0 ? 0 : 1;

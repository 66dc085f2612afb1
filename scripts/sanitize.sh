#!/usr/bin/env bash
# Every CUDA kernel on the edge shapes under compute-sanitizer: out-of-bounds and misaligned accesses (memcheck), shared
# memory races (racecheck). Exit 0 only where both are clean.
# Usage: scripts/sanitize.sh [verify flags...]              through the CLI: polar-bench verify --backend cuda ...
#        POLAR_SMOKE=build/Release/cuda_smoke scripts/sanitize.sh [verify flags...]      where there is no Node
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
command -v compute-sanitizer > /dev/null || {
  echo "sanitize: Expected compute-sanitizer on PATH, got none. Hint: it is part of the CUDA toolkit" >&2
  exit 3
}

if [[ -n ${POLAR_SMOKE:-} ]]; then
  target=("$POLAR_SMOKE" "$(dirname "$POLAR_SMOKE")/libpolar_cuda.so" verify "${@:-all}" quick)
elif [[ -x $root/bin/polar-bench ]]; then
  target=("$root/bin/polar-bench" verify --backend cuda "$@")
else
  target=(node "$root/dist/main.js" verify --backend cuda "$@")
fi

# Measuring happens in a child process of the CLI, so every process is watched. A probe of the driver that fails is no
# finding; what the kernels do is.
status=0
for tool in memcheck racecheck; do
  echo "sanitize: $tool" >&2
  extra=()
  if [[ $tool == racecheck ]]; then extra=(--racecheck-report analysis); fi
  compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 99 --report-api-errors no \
    --print-limit 20 "${extra[@]}" "${target[@]}" || status=$?
done
exit "$status"

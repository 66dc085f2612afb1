#!/usr/bin/env bash
# Every CUDA kernel on the edge shapes under compute-sanitizer: out-of-bounds and misaligned accesses (memcheck), shared
# memory races (racecheck). Exit 0 only where both are clean.
# Usage: scripts/sanitize.sh [--jobs N] [--parts M] [--tool NAME]... [verify flags...]
#          N processes side by side (default 1) check the first N of M parts (default N) of the cases
#        POLAR_SMOKE=build/Release/cuda_smoke scripts/sanitize.sh [attention|mlp]      where there is no Node
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
jobs=1
parts=
tools=()
while [[ ${1:-} == --jobs || ${1:-} == --parts || ${1:-} == --tool ]]; do
  case $1 in
    --jobs) jobs=$2 ;;
    --parts) parts=$2 ;;
    --tool) tools+=("$2") ;;
  esac
  shift 2
done
parts=${parts:-$jobs}
[[ ${#tools[@]} -gt 0 ]] || tools=(memcheck racecheck)

command -v compute-sanitizer > /dev/null || {
  echo "sanitize: Expected compute-sanitizer on PATH, got none. Hint: it is part of the CUDA toolkit" >&2
  exit 3
}

if [[ -n ${POLAR_SMOKE:-} ]]; then
  target=("$POLAR_SMOKE" "$(dirname "$POLAR_SMOKE")/libpolar_cuda.so" verify "${@:-all}" quick)
elif [[ -x $root/bin/polar-bench ]]; then
  target=("$root/bin/polar-bench" verify --backend cuda --hang-timeout 600 "$@")
else
  target=(node "$root/dist/main.js" verify --backend cuda --hang-timeout 600 "$@")
fi

# One part of the cases under one tool. Measuring happens in a child process of the CLI, so every process is watched. A
# probe of the driver that fails is no finding; what the kernels do is.
check() {
  local tool=$1 part=$2 extra=() share=()
  # racecheck looks at shared memory, which the references do not use: without them it takes minutes instead of hours.
  if [[ $tool == racecheck ]]; then
    extra=(--racecheck-report analysis --kernel-name-exclude kernel_substring=reference)
  fi
  if [[ -z ${POLAR_SMOKE:-} && $parts -gt 1 ]]; then share=(--shard "$part/$parts"); fi
  compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 99 --report-api-errors no \
    --print-limit 20 "${extra[@]}" "${target[@]}" "${share[@]}"
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
status=0
for tool in "${tools[@]}"; do
  echo "sanitize: $tool" >&2
  pids=()
  for ((part = 1; part <= jobs; ++part)); do
    check "$tool" "$part" > "$logs/$tool-$part" 2>&1 &
    pids+=($!)
  done
  for ((part = 1; part <= jobs; ++part)); do
    result=0
    wait "${pids[part - 1]}" || result=$?
    grep -vE '^\[[0-9]+/[0-9]+\]' "$logs/$tool-$part" || true
    if [[ $result -ne 0 ]]; then
      echo "sanitize: $tool, part $part of $parts ended with $result" >&2
      status=$result
    fi
  done
done
exit "$status"

#!/usr/bin/env bash
# One archive for GPU hosts with neither Node nor network: node, dist, production modules, native libraries, configs.
# Usage: scripts/bundle.sh [OUTPUT.tar.xz]     Needs `npm ci` and `npm run build` before. Run: bin/polar-bench --help
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
version=$(node -p "require('$root/package.json').version")
output=${1:-$root/polar-bench-$version-linux-$(uname -m).tar.xz}
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
bundle=$staging/polar-bench

fail() {
  echo "bundle: $1" >&2
  exit 1
}

[[ -f $root/dist/main.js ]] || fail "Expected dist/main.js, got none. Hint: npm run build"
compgen -G "$root/build/Release/*.node" > /dev/null || fail "Expected build/Release/*.node, got none. Hint: npm ci"
[[ -f $root/build/Release/libpolar_cuda.so ]] ||
  echo "bundle: no libpolar_cuda.so in build/Release; the bundle will measure on the CPU only" >&2

mkdir -p "$bundle/bin" "$bundle/build/Release"
cp -r "$root/dist" "$root/configs" "$root/package.json" "$root/LICENSE" "$bundle/"
for file in README.md CHANGELOG.md; do
  if [[ -f $root/$file ]]; then cp "$root/$file" "$bundle/"; fi
done
cp "$root"/build/Release/*.node "$root"/build/Release/*.so "$bundle/build/Release/"

mkdir -p "$bundle/scripts"
cp "$root/scripts/sanitize.sh" "$root/scripts/gate-experiment.mjs" "$bundle/scripts/"

# A bundle has no repository: what env.json says of the sources is written down here.
commit=$(git -C "$root" rev-parse HEAD 2> /dev/null || true)
dirty=$([[ -n $(git -C "$root" status --porcelain --untracked-files=no 2> /dev/null) ]] && echo true || echo false)
if [[ -n $commit ]]; then
  printf '{"git_commit": "%s", "git_dirty": %s}\n' "$commit" "$dirty" > "$bundle/build-info.json"
fi

# Production modules in a folder of their own, without running any install script: nothing is compiled here. What only
# a build needs is left out.
cp "$root/package-lock.json" "$bundle/"
(cd "$bundle" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
(cd "$bundle" && npm pkg delete dependencies.cmake-js dependencies.node-addon-api scripts &&
  npm prune --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
rm -rf "$bundle/package-lock.json" "$bundle/node_modules/.package-lock.json" "$bundle/node_modules/.bin"
find "$bundle/node_modules" "$bundle/dist" -name '*.map' -delete

cp "$(node -p process.execPath)" "$bundle/bin/node"
strip "$bundle/bin/node" 2> /dev/null || echo "bundle: node is not stripped" >&2

cat > "$bundle/bin/polar-bench" <<'LAUNCHER'
#!/bin/sh
# Starts the bundled node whatever the working folder; follows symbolic links to this file.
self=$(readlink -f "$0")
root=$(dirname "$(dirname "$self")")
exec "$root/bin/node" "$root/dist/main.js" "$@"
LAUNCHER
chmod 755 "$bundle/bin/polar-bench" "$bundle/bin/node"

"$bundle/bin/polar-bench" --version > /dev/null || fail "Expected the bundle to start, got an error"
tar -C "$staging" --owner=0 --group=0 --sort=name -cJf "$output" polar-bench
echo "$output: $(du -h "$output" | cut -f1), unpacked $(du -sh "$bundle" | cut -f1)"

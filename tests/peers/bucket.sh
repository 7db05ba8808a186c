#!/usr/bin/env bash
# An S3-compatible store on a port of loopback, in the foreground: bucket.sh PORT. It keeps everything in memory, takes any
# credentials, and is installed into the cache (LSIE_CACHE, default ~/.cache/lsie) the first time; `bucket.sh install` does only that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=${LSIE_CACHE:-$HOME/.cache/lsie}/bucket
if ! cmp --silent bucket.txt "$venv/ready"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --only-binary=:all: --requirement bucket.txt
  cp bucket.txt "$venv/ready"
fi
[[ $1 == install ]] || exec "$venv/bin/moto_server" --host 127.0.0.1 --port "$1"

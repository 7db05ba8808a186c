#!/usr/bin/env bash
# Runs make_session.py with its pinned Python packages (kept in the cache) and the tools it was written for.
# All arguments go to make_session.py, see there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
cache=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}
venv=$cache/sessions/$(sha256sum "$here/requirements.lock" | cut -c1-12)
python=${PYTHON:-python3}

say() { printf 'sessions: %s\n' "$*" >&2; }
die() {
  printf 'sessions: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

for tool in ffmpeg espeak-ng "$python"; do
  command -v "$tool" >/dev/null || die "$tool is missing" "run docker/setup/packages.sh sessions"
done

# Other versions work too, but may give other bytes than the committed ones.
espeak-ng --version | grep -q ' 1\.51 ' || say "espeak-ng is not 1.51: other audio bytes are likely"
ffmpeg -version | grep -q 'ffmpeg version 5\.1' || say "ffmpeg is not 5.1: other video bytes are likely"

if [[ ! -x $venv/bin/python ]]; then
  say "installing the generator's Python packages into $venv (pinned by hash)"
  rm -rf "$venv" "$venv.partial"
  mkdir -p "$cache/sessions"
  "$python" -m venv "$venv.partial"
  "$venv.partial/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --requirement "$here/requirements.lock" ||
    die "installing the packages failed" "check the network to the Python package index, then run this again"
  mv "$venv.partial" "$venv" # its interpreter is a link, so it may move; pip is not called again
fi
if [[ " $* " == *" --measure "* ]]; then
  "$root/docker/setup/models.sh" >&2
fi
PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" "$here/make_session.py" "$@"

#!/usr/bin/env bash
# Holds the API against its own OpenAPI document: requests made from it, good and bad, to a live engine. No answer
# may be a server error, or another than the document says.
#
#   LSIE_TEST_KAFKA=HOST:PORT tests/schemathesis.sh [BINARY]
#
# The number of requests is bounded and their seed fixed; LSIE_SCHEMATHESIS_EXAMPLES asks for more of them.
set -euo pipefail

version=4.32.5
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lsie=${1:-${CARGO_TARGET_DIR:-$root/target}/release/lsie}
cache=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}
venv=$cache/schemathesis-$version
work=$(mktemp -d -t lsie-schemathesis.XXXXXX)
engine=

say() { printf 'schemathesis: %s\n' "$*"; }
die() {
  printf 'schemathesis: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

finish() {
  local status=$?
  trap - EXIT
  if [[ -n $engine ]]; then
    kill -INT "$engine" 2>/dev/null || true
    wait "$engine" || status=1
  fi
  [[ $status -eq 0 ]] || tail -n 20 "$work"/*.log >&2
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT

[[ -n ${LSIE_TEST_KAFKA:-} ]] || die "LSIE_TEST_KAFKA is not set" "run tests/run.sh with tests/schemathesis.sh"
[[ -x $lsie ]] || die "$lsie is missing" "make build"

if [[ ! -x $venv/bin/schemathesis ]]; then
  say "installing schemathesis $version into the cache"
  rm -rf "$venv"
  python3 -m venv "$venv" || die "python's venv module does not work" "docker/setup/packages.sh build"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version" || {
    rm -rf "$venv"
    die "pip could not install it" "check the network to the Python package index, then run this again"
  }
fi

cd "$work"
topics=(--log "kafka:$LSIE_TEST_KAFKA" --prefix "schemathesis-$$.")
"$lsie" "${topics[@]}" topics create --partitions 2 >topics.log
LSIE_LOG=warn "$lsie" "${topics[@]}" run --port 0 --out tables >engine.log 2>&1 &
engine=$!
for _ in $(seq 100); do
  url=$(sed -n 's/^views on //p' engine.log)
  [[ -n $url ]] && break
  kill -0 "$engine" || die "the engine did not start" "see above"
  sleep 0.2
done
[[ -n $url ]] || die "the engine does not say where it listens" "see above"

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
# The streams do not end; they have tests of their own.
"$venv/bin/schemathesis" run "${url}api/v1/openapi.json" --checks "$checks" --phases examples,coverage,fuzzing \
  --max-examples "${LSIE_SCHEMATHESIS_EXAMPLES:-15}" --seed 20260105 --exclude-path '/api/v1/views/{view}/changes' \
  --exclude-path '/api/v1/pulse' \
  --suppress-health-check all --warnings off --wait-for-schema 20 --request-timeout 20 --no-color
kill -0 "$engine" || die "the engine is gone" "see above"

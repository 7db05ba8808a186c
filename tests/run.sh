#!/usr/bin/env bash
# Everything that must hold, the cheapest first; the same at a desk and in CI. Installs what is missing and
# says what.
#
#   run.sh                  formatting, lints, deployment files, build, all tests against a real Kafka and a real PostgreSQL, docs
#   run.sh check            formatting and lints only
#   run.sh faults           RUNS (32) rounds of faults from SEED on, JOBS (1) at a time, of all kinds or of FAULT alone,
#                           and their table
#   run.sh with COMMAND...  one command while the servers are up, for example
#                           tests/run.sh with cargo test --release --workspace --test log_conformance
#
# Tests find the servers by LSIE_TEST_KAFKA (host:port) and LSIE_TEST_POSTGRES (a URL). The servers listen on
# free ports of loopback, keep their data in a temporary folder, and are stopped whatever happens.
set -euo pipefail
shopt -s nullglob

# Properties are tried on the same cases everywhere; another seed tries others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-20260105}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# One selection of packages everywhere: with another one cargo unifies features differently and builds twice.
all=(--release --locked --workspace)
work=

# Begins a stage; all of them are listed at the end with the time each took.
stages=()
step() {
  stages+=("$SECONDS $*")
  printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}
list_stages() {
  local at next
  printf '\n'
  for at in "${!stages[@]}"; do
    next=${stages[at + 1]:-$SECONDS}
    printf '%5d s  %s\n' $((${next%% *} - ${stages[at]%% *})) "${stages[at]#* }"
  done
}
die() {
  printf 'tests: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

need_rust() {
  command -v cargo >/dev/null || die "cargo is missing" "install Rust with rustup; Cargo.toml names the version"
  local tool
  for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 || die "cargo $tool is missing" "rustup component add rustfmt clippy"
  done
}

check_format() {
  step "formatting"
  cargo fmt --all --check || die "the formatting differs" "cargo fmt --all"
}

install() {
  step "what must be installed"
  docker/setup/packages.sh test
  docker/setup/models.sh
}

check_lints() {
  step "lints"
  cargo clippy "${all[@]}" --all-targets -- -D warnings
}

check_deployment() {
  step "deployment files, pages of the documentation"
  docker/lint.sh
  tests/book.py
}

start_servers() {
  step "a real Kafka and a real PostgreSQL"
  work=$(mktemp -d -t lsie-test.XXXXXX)
  chmod 711 "$work" # run as root, PostgreSQL is another user
  tests/kafka/broker.sh start "$work/kafka"
  tests/postgres/server.sh start "$work/postgres"
  LSIE_TEST_KAFKA=$(<"$work/kafka/bootstrap")
  LSIE_TEST_POSTGRES=$(<"$work/postgres/url")
  export LSIE_TEST_KAFKA LSIE_TEST_POSTGRES
  printf 'Kafka %s, PostgreSQL %s\n' "$LSIE_TEST_KAFKA" "$LSIE_TEST_POSTGRES"
}

# Runs at every exit. After a failure the servers' logs stay, for they may say why.
stop_servers() {
  local status=$?
  trap - EXIT
  [[ -n $work ]] || exit "$status"
  tests/kafka/broker.sh stop "$work/kafka" || status=1
  tests/postgres/server.sh stop "$work/postgres" || status=1
  if [[ $status -eq 0 ]]; then
    rm -rf "$work"
  else
    printf 'tests: failed; what the servers wrote is kept in %s\n' "$work" >&2
  fi
  exit "$status"
}

# Prints the --test flags for files of integration tests, which cargo finds by the same rule.
test_flags() {
  local file
  for file in "$@"; do
    printf -- '--test\n%s\n' "$(basename "${file%/main.rs}" .rs)"
  done
}

run_tests() {
  local file near=() far=()
  for file in */tests/*.rs */tests/*/main.rs; do
    if [[ $file == tests/* ]]; then far+=("$file"); else near+=("$file"); fi
  done
  [[ ${#far[@]} -gt 0 ]] || die "no end-to-end tests found" "they belong into tests/tests"
  mapfile -t near < <(test_flags "${near[@]}")
  mapfile -t far < <(test_flags "${far[@]}")

  step "unit and integration tests"
  cargo test "${all[@]}" --no-fail-fast --lib --bins "${near[@]}"
  step "examples in the documentation"
  cargo test "${all[@]}" --no-fail-fast --doc
  step "end-to-end tests, one at a time: each has the processor to itself"
  RUST_TEST_THREADS=1 cargo test "${all[@]}" --no-fail-fast "${far[@]}"
  step "the API against its own document"
  tests/schemathesis.sh
  step "every command of the documentation"
  tests/documented.py
}

# The console's types, units and bundle; the engine's build embeds it.
make_console() {
  step "the console: types, units, bundle"
  sinks/console/build.sh --packages
  (cd sinks/console && npm run --silent check && npm test --silent)
  sinks/console/build.sh
}

# Every page and state of the console in Chromium, on a made-up engine and on the one that was built.
browse_console() {
  step "the console in a real browser"
  (cd sinks/console && npm run --silent browser && npm run --silent engine)
}

check_docs() {
  step "documentation without warnings"
  RUSTDOCFLAGS="-D warnings" cargo doc "${all[@]}" --no-deps
}

everything() {
  need_rust
  check_format
  install
  make_console
  check_lints
  check_deployment
  step "build"
  cargo build "${all[@]}" --all-targets
  start_servers
  run_tests
  browse_console
  check_docs
  list_stages
  step "all passed"
}

trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

case ${1:-all} in
  all) everything ;;
  check)
    need_rust
    check_format
    docker/setup/packages.sh build
    check_lints
    ;;
  faults)
    need_rust
    install
    step "build"
    cargo build "${all[@]}" --all-targets
    "${CARGO_TARGET_DIR:-target}/release/examples/fault_rounds"
    ;;
  with)
    [[ $# -gt 1 ]] || die "no command given" "see the head of this file"
    install
    start_servers
    "${@:2}"
    ;;
  *) die "unknown argument $1" "see the head of this file" ;;
esac

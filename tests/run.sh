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

# End-to-end tests that run at a time: they wait for media, servers and clocks more than they compute.
lanes=${LANES:-2}

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
  printf '\nof what ran side by side:\n'
  sort -rn "$work/took"
}

# Runs the commands of standard input, one a line, `lanes` at a time, and shows what each said when it is over. All are
# run; fails if one of them did.
side_by_side() {
  : >"$work/took"
  RUST_TEST_THREADS=1 WORK=$work xargs -d '\n' -P "$lanes" -I{} bash -c '
    status=0
    bash -c "$1" >"$WORK/said.$$" 2>&1 </dev/null || status=$?
    printf "%5d s  %s\n" "$SECONDS" "$1" >>"$WORK/took"
    exec 9>"$WORK/showing"
    flock 9
    printf "\n-- %s\n" "$1"
    cat "$WORK/said.$$"
    [[ $status -eq 0 ]] || printf "FAILED with %d: %s\n" "$status" "$1"
    exit $((status != 0))' one {}
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
  step "deployment files"
  docker/lint.sh
}

# Advisories need a network of their own: make deny.
check_dependencies() {
  step "licences, bans and sources of all dependencies"
  "$(docker/lint/tools.sh)/cargo-deny" --log-level error --offline --locked --workspace check bans licenses sources
}

check_book() {
  step "pages of the documentation, the book"
  tests/book.py
  local said
  said=$("$(docker/lint/tools.sh)/mdbook" build docs 2>&1)
  printf '%s\n' "$said"
  ! grep -qE 'WARN|ERROR' <<<"$said" || die "mdBook warns" "see the lines above"
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

# The names of integration tests by their files, which cargo finds by the same rule.
names() {
  local file
  for file in "$@"; do
    basename "${file%/main.rs}" .rs
  done
}

# Everything that is run against the whole product, what takes longest first.
end_to_end() {
  local name
  printf '%s\n' tests/documented.py tests/schemathesis.sh
  for name in faults marker_scan "$@"; do
    printf 'cargo test %s --test %s\n' "${all[*]}" "$name"
  done
}

run_tests() {
  local file name near=() far=()
  for file in */tests/*.rs */tests/*/main.rs; do
    if [[ $file == tests/* ]]; then far+=("$file"); else near+=("$file"); fi
  done
  [[ ${#far[@]} -gt 0 ]] || die "no end-to-end tests found" "they belong into tests/tests"
  mapfile -t near < <(names "${near[@]}" | sort -u)
  mapfile -t far < <(names "${far[@]}" | grep -vx -e faults -e marker_scan)
  for name in "${far[@]}"; do
    [[ " ${near[*]} " != *" $name "* ]] || die "two tests are called $name" "cargo test --test $name runs both: rename one"
  done

  step "unit and integration tests"
  cargo test "${all[@]}" --no-fail-fast --lib --bins $(printf -- '--test %s ' "${near[@]}")
  step "examples in the documentation"
  cargo test "${all[@]}" --no-fail-fast --doc
  step "end-to-end tests, the API against its own document, every command of the documentation: $lanes at a time"
  end_to_end "${far[@]}" | side_by_side
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
  check_dependencies
  check_deployment
  check_book
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

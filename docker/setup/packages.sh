#!/usr/bin/env bash
# Installs the Debian packages that are missing, and says which. Does nothing when all are there.
#
#   packages.sh build   what compiling and setting up the models needs (the default)
#   packages.sh demo    the same: the demo runs without a broker and a database
#   packages.sh test    build, and what the tests need: PostgreSQL 15, Java 17 or newer, Maven, ffmpeg, kcat, Node 18 or
#                       newer with npm, Chromium
#   packages.sh bench  test, and what the benchmarks need: wrk
#   packages.sh image  build, and what trying the image on a bare root needs: debootstrap
#   packages.sh sessions  build, and what making the recorded sessions anew needs: ffmpeg, espeak-ng
#
# Rust comes from rustup (Cargo.toml names the oldest version that will do), not from here.
set -euo pipefail

say() { printf 'packages: %s\n' "$*"; }
die() {
  printf 'packages: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

build=(
  gcc g++ make pkg-config ca-certificates # the C and C++ parts of crates, TLS roots
  clang libclang-dev                      # the bindings to libav are generated at build time
  libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libswresample-dev
  zlib1g-dev libssl-dev
  python3 python3-venv # the models' set-up
)
test=(libfaketime maven ffmpeg chromium kcat) # and Java, PostgreSQL and Node, below
bench=(wrk util-linux)
image=(debootstrap)
sessions=(ffmpeg espeak-ng)

installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

# A Java runtime of 17 or newer, wherever it comes from.
have_java() {
  local java version
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*/bin/java; do
    command -v "$java" >/dev/null || continue
    version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    [[ ${version:-0} -ge 17 ]] && return
  done
  return 1
}

# Node 18 or newer with npm, wherever they come from.
have_node() {
  command -v node >/dev/null && command -v npm >/dev/null && [[ $(node --version | sed 's/^v\([0-9]*\).*/\1/') -ge 18 ]]
}

have_postgres() { compgen -G '/usr/lib/postgresql/1[5-9]/bin/initdb' >/dev/null; }

# Prints the packages of the wanted set that are missing.
missing() {
  local package
  for package in "$@"; do
    case $package in
      maven) command -v mvn >/dev/null && continue ;;
      clang | gcc | g++ | make | pkg-config | ffmpeg | espeak-ng | python3)
        command -v "$package" >/dev/null && continue ;;
    esac
    installed "$package" || echo "$package"
  done
}

kind=${1:-build}
case $kind in
  build | demo) wanted=("${build[@]}") ;;
  test) wanted=("${build[@]}" "${test[@]}") ;;
  bench) wanted=("${build[@]}" "${test[@]}" "${bench[@]}") ;;
  image) wanted=("${build[@]}" "${image[@]}") ;;
  sessions) wanted=("${build[@]}" "${sessions[@]}") ;;
  *) die "unknown set of packages: $kind" "use build, demo, test, bench, image or sessions" ;;
esac

command -v dpkg-query >/dev/null || die "this is no Debian" \
  "install the counterparts of: ${wanted[*]}"

mapfile -t needed < <(missing "${wanted[@]}")
if [[ $kind == test || $kind == bench ]]; then
  have_java || needed+=(openjdk-17-jre-headless)
  have_postgres || needed+=(postgresql-15)
  have_node || needed+=(nodejs npm)
fi
[[ ${#needed[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || die "these packages are missing, and installing needs root: ${needed[*]}" \
    "as root: apt-get update && apt-get install --no-install-recommends ${needed[*]}"
  as_root=(sudo)
fi
say "installing ${needed[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
  "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends "${needed[@]}"
} >"$log" 2>&1 || {
  tail -20 "$log" >&2
  die "apt-get could not install them" "check the network and the package sources, then run: apt-get install ${needed[*]}"
}
say "done"

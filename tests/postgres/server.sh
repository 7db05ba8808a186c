#!/usr/bin/env bash
# A real PostgreSQL (15 or newer) on loopback, for tests.
#
#   server.sh start DIR   start a server whose data and log lie under DIR; returns once it accepts a query.
#                         Writes DIR/url. On a DIR used before, the same data and the same port come back.
#   server.sh stop DIR    stop that server and wait until it is gone
#
# With POSTGRES_TLS=1 a new server speaks TLS, with a certificate of its own making for localhost and 127.0.0.1, which is
# put into DIR/server.crt.
#
# Run as root, the server runs as the user postgres, and DIR must be reachable for that user.
# POSTGRES_BIN names the folder of initdb and pg_ctl when it is not Debian's.
set -euo pipefail

start_timeout_s=60

die() {
  printf 'postgres: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

find_bin() {
  local bin newest=
  for bin in ${POSTGRES_BIN:+"$POSTGRES_BIN"} /usr/lib/postgresql/1[5-9]/bin; do
    [[ -x $bin/initdb ]] && newest=${newest:-$bin}
  done
  [[ -n $newest ]] || die "PostgreSQL 15 or newer is missing" "run docker/setup/packages.sh test"
  echo "$newest"
}

# Runs a command as the user that owns the server: postgres when we are root, else ourselves.
as_owner() {
  if [[ $(id -u) -eq 0 ]]; then
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

create() {
  local dir=$1 bin=$2
  mkdir -p "$dir/data"
  if [[ $(id -u) -eq 0 ]]; then
    chmod o+x "$dir" # a private temporary folder would shut the user postgres out
    chown postgres "$dir/data"
  fi
  chmod 700 "$dir/data"
  as_owner test -w "$dir/data" || die "the user postgres cannot reach $dir/data" \
    "choose a folder outside of private home folders, for example below /tmp"
  as_owner "$bin/initdb" --pgdata "$dir/data" --username lsie --auth trust --encoding UTF8 \
    --locale C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 || {
    cat "$dir/initdb.log" >&2
    die "initdb failed" "read the lines above; remove $dir and try again"
  }
  if [[ ${POSTGRES_TLS:-} == 1 ]]; then certify "$dir"; fi
}

# Gives a server a certificate that it has signed itself.
certify() {
  local dir=$1
  as_owner openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout "$dir/data/server.key" -out "$dir/data/server.crt" >"$dir/openssl.log" 2>&1 || {
    cat "$dir/openssl.log" >&2
    die "openssl made no certificate" "read the lines above"
  }
  as_owner sh -c 'echo "ssl = on" >>"$1"' sh "$dir/data/postgresql.conf"
  as_owner cat "$dir/data/server.crt" >"$dir/server.crt"
}

# The server's pid, if it runs. A killed one that nobody has reaped yet does not count, though pg_ctl takes it for alive.
own_pid() {
  local pid
  pid=$(head -1 "$1/data/postmaster.pid" 2>/dev/null) || return 1
  [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$1/data" ]] && ! is_zombie "$pid" && echo "$pid"
}

is_zombie() { grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

# After kill -9: waits for the server's children, and removes the lock file of a server that is a zombie.
clear_remains() {
  local dir=$1 pid deadline=$((SECONDS + 10))
  while children "$dir" && ((SECONDS < deadline)); do sleep 0.1; done
  pid=$(head -1 "$dir/data/postmaster.pid" 2>/dev/null) || return 0
  if is_zombie "$pid"; then rm -f "$dir/data/postmaster.pid"; fi
}

# Whether any process works in the data folder (the server and all its children do).
children() {
  local cwd
  for cwd in /proc/[0-9]*/cwd; do
    [[ $(readlink "$cwd" 2>/dev/null) == "$1/data" ]] && return
  done
  return 1
}

launch() {
  local dir=$1 bin=$2 port=$3
  # Durability is what kill -9 tests look at, so fsync stays on.
  as_owner "$bin/pg_ctl" --pgdata "$dir/data" --log "$dir/data/server.log" --wait --timeout "$start_timeout_s" \
    --options "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c max_connections=200" \
    start </dev/null >/dev/null 2>&1
}

start() {
  local dir=$1 bin port attempt
  bin=$(find_bin)
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd -P)
  [[ -f $dir/data/PG_VERSION ]] || create "$dir" "$bin"
  own_pid "$dir" >/dev/null && return
  clear_remains "$dir"
  for attempt in 1 2 3; do
    port=$(cat "$dir/port" 2>/dev/null || free_port)
    if launch "$dir" "$bin" "$port"; then
      echo "$port" >"$dir/port"
      echo "postgresql://lsie@127.0.0.1:$port/postgres" >"$dir/url.new"
      mv "$dir/url.new" "$dir/url"
      return
    fi
    rm -f "$dir/port" # perhaps taken by another program
  done
  as_owner tail -20 "$dir/data/server.log" >&2 || true
  die "the server did not come up in $attempt attempts" "read $dir/data/server.log; the last lines stand above"
}

stop() {
  local dir=$1 bin
  dir=$(cd "$dir" 2>/dev/null && pwd -P) || return 0
  bin=$(find_bin)
  if own_pid "$dir" >/dev/null; then
    as_owner "$bin/pg_ctl" --pgdata "$dir/data" --mode fast --wait stop >/dev/null
  fi
}

case ${1:-}/$# in
  start/2) start "$2" ;;
  stop/2) stop "$2" ;;
  *) die "usage: server.sh start DIR | stop DIR" "see the head of this file" ;;
esac

#!/usr/bin/env bash
# A real Apache Kafka (KRaft, one broker) on loopback, for tests.
#
#   broker.sh start DIR   start a broker whose data, log and settings lie under DIR; returns once it answers.
#                         Writes DIR/bootstrap (host:port) and DIR/pid. On a DIR used before, the same data
#                         and the same port come back (also after kill -9).
#   broker.sh stop DIR    stop that broker and wait until it is gone
#   broker.sh jars        fetch the jars if they are missing and print their folder
#
# Needs Java 17 or newer; Maven for the first fetch. The jars are kept in ${LSIE_CACHE:-~/.cache/lsie}/kafka.
# KAFKA_HEAP sets the heap (default 512m), BROKER_SESSION_MS and BROKER_HEARTBEAT_MS when its controller takes it for dead.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/kafka
ready_timeout_s=120
stop_timeout_s=20

say() { printf 'kafka: %s\n' "$*" >&2; }
die() {
  printf 'kafka: %s\n' "$1" >&2
  printf '  mend: %s\n' "$2" >&2
  exit 1
}

# --- jars ---

# The cache key changes with every change of a version: Kafka's version and the hash of the pom.
jars_folder() {
  local version key
  version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
  key=$(sha256sum "$here/pom.xml" | cut -c1-12)
  echo "$cache/$version-$key"
}

jars_verified() { (cd "$1" 2>/dev/null && sha256sum --quiet --strict -c "$here/jars.sha256") >/dev/null 2>&1; }

# Prints the folder; fetches when it is missing. It is verified once, when made, and then renamed into place.
fetch_jars() {
  local folder=$1
  [[ -d $folder ]] && return
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  [[ -d $folder ]] && return
  command -v mvn >/dev/null || die "Maven is missing" "run docker/setup/packages.sh test"
  say "fetching Apache Kafka's jars into $folder (about 40 MB, with Maven)"
  rm -rf "$folder.partial"
  mvn --quiet --batch-mode --strict-checksums --file "$here/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder.partial" >&2 ||
    die "Maven could not fetch the jars" "check the network to Maven's repository (your settings.xml applies), then run this again"
  jars_verified "$folder.partial" || die "the jars differ from tests/kafka/jars.sha256" \
    "remove $folder.partial and run this again; after a change of pom.xml write the list anew: (cd $folder.partial && sha256sum *.jar) > tests/kafka/jars.sha256"
  mv "$folder.partial" "$folder"
  exec 9>&-
}

find_java() {
  local java version
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} java /usr/lib/jvm/*/bin/java; do
    command -v "$java" >/dev/null || continue
    version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    if [[ ${version:-0} -ge 17 ]]; then
      echo "$java"
      return
    fi
  done
  die "Java 17 or newer is missing" "run docker/setup/packages.sh test"
}

# --- one broker ---

free_ports() {
  python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
}

write_settings() {
  local dir=$1 port=$2 controller_port=$3
  cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data

# One broker: every internal topic has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0

# What the tests rely on.
auto.create.topics.enable=false
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000

# Small. On a busy machine the controller may not hear of the broker for seconds, and then takes its partitions away; who kills
# the broker wants a short session, for a new one is refused until the old one's has ended (BROKER_SESSION_MS).
# With more time than that between heartbeats (BROKER_HEARTBEAT_MS) it is dead to its controller again and again, and lives.
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=${BROKER_SESSION_MS:-15000}
broker.heartbeat.interval.ms=${BROKER_HEARTBEAT_MS:-500}
END
  cat >"$dir/log4j.properties" <<END
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c: %m%n
log4j.logger.kafka.server.KafkaRaftServer=INFO
# Whether the controller took the broker for dead, and when it no longer did: a fenced broker answers that there is none.
log4j.logger.org.apache.kafka.controller.ReplicationControlManager=INFO
log4j.logger.org.apache.kafka.controller.ClusterControlManager=INFO
log4j.logger.org.apache.kafka.controller.BrokerHeartbeatManager=INFO
END
}

# The pid in DIR/pid, if that process is still this folder's broker.
own_pid() {
  local dir=$1 pid
  pid=$(cat "$dir/pid" 2>/dev/null) || return 1
  # A zombie has an empty command line, so it does not count.
  { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF "$dir/server.properties" || return 1
  echo "$pid"
}

# Whether the process has ended; one that only waits to be reaped has.
gone() {
  local state
  state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
  [[ -z $state || $state == [ZX] ]]
}

launch() {
  local dir=$1 java=$2 jars=$3
  setsid "$java" "-Xms${KAFKA_HEAP:-512m}" "-Xmx${KAFKA_HEAP:-512m}" \
    -Djava.awt.headless=true "-Dlog4j.configuration=file:$dir/log4j.properties" \
    -cp "$jars/*" kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/broker.log" 2>&1 &
  echo $! >"$dir/pid"
}

# Waits for the answer to a metadata request; fails when the process ends or time is up.
wait_ready() {
  local dir=$1 port=$2 pid cluster deadline=$((SECONDS + ready_timeout_s))
  pid=$(cat "$dir/pid")
  cluster=$(sed -n 's/^cluster.id=//p' "$dir/data/meta.properties")
  while ((SECONDS < deadline)); do
    python3 "$here/metadata.py" 127.0.0.1 "$port" "$cluster" && return
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

start() {
  local dir=$1 java jars port controller_port attempt
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  if own_pid "$dir" >/dev/null; then
    say "already running at $(cat "$dir/bootstrap")"
    return
  fi
  java=$(find_java)
  jars=$(jars_folder)
  fetch_jars "$jars"
  for attempt in 1 2 3; do
    if [[ $attempt -gt 1 || ! -f $dir/server.properties ]]; then
      read -r port controller_port < <(free_ports)
      write_settings "$dir" "$port" "$controller_port"
    fi
    port=$(sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$dir/server.properties")
    if [[ ! -f $dir/data/meta.properties ]]; then
      "$java" -Dlog4j.configuration="file:$dir/log4j.properties" -cp "$jars/*" kafka.tools.StorageTool format \
        --cluster-id "$("$java" -Dlog4j.configuration="file:$dir/log4j.properties" -cp "$jars/*" kafka.tools.StorageTool random-uuid)" \
        --config "$dir/server.properties" >>"$dir/broker.log" 2>&1
    fi
    launch "$dir" "$java" "$jars"
    if wait_ready "$dir" "$port"; then
      echo "127.0.0.1:$port" >"$dir/bootstrap.new"
      mv "$dir/bootstrap.new" "$dir/bootstrap"
      return
    fi
    stop "$dir"
  done
  tail -20 "$dir/broker.log" >&2
  die "the broker did not come up in $attempt attempts" "read $dir/broker.log; the last lines stand above"
}

stop() {
  local dir=$1 pid deadline=$((SECONDS + stop_timeout_s))
  dir=$(cd "$dir" 2>/dev/null && pwd) || return 0
  if pid=$(own_pid "$dir"); then
    kill "$pid"
    kill -CONT "$pid" 2>/dev/null || true # a paused broker could not hear it
    while ! gone "$pid"; do
      if ((SECONDS >= deadline)); then
        say "the broker did not stop within $stop_timeout_s s; killing it"
        kill -KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + stop_timeout_s))
      fi
      sleep 0.1
    done
  fi
  rm -f "$dir/pid"
}

case ${1:-}/$# in
  start/2) start "$2" ;;
  stop/2) stop "$2" ;;
  jars/1)
    folder=$(jars_folder)
    fetch_jars "$folder"
    echo "$folder"
    ;;
  *) die "usage: broker.sh start DIR | stop DIR | jars" "see the head of this file" ;;
esac

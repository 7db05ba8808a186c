#!/usr/bin/env bash
# Goes through the steps of the image `engine` on a bare Debian root, where there is no container engine: installs the packages
# of its runtime there, puts in the binary and the models, and runs both as its user in that root, mounted read-only.
#
#   sudo docker/try_image.sh [BINARY]     needs debootstrap and unshare; some minutes, 500 MB in a temporary folder
#
# The steps are read from the Dockerfile, so that what is tried is what is built. The stage `build` is what CI does anyway: the same
# scripts and the same command.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
lsie=${1:-${CARGO_TARGET_DIR:-$root/target}/release/lsie}
models=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/models
say() { printf 'image: %s\n' "$*"; }
die() {
  printf 'image: %s\n  mend: %s\n' "$1" "$2" >&2
  exit 1
}

[[ $(id -u) -eq 0 ]] || die "a root file system is root's" "sudo docker/try_image.sh"
command -v debootstrap >/dev/null || die "debootstrap is missing" "apt-get install debootstrap"
[[ -x $lsie ]] || die "$lsie is missing" "make build"

# Prints the lines of a stage of the Dockerfile, joined where they go on.
stage() {
  sed -n "/ AS $1\$/,/^FROM /p" "$root/docker/Dockerfile" | sed -e '/^FROM/d' -e '/^#/d' |
    sed -e ':a' -e '/\\$/N; s/\\\n//; ta'
}
# The value of a variable that the stage sets.
setting() { stage engine | sed -n 's/^ENV //p' | tr ' ' '\n' | sed -n "s/^$1=//p"; }

work=$(mktemp -d -t lsie-image.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
image=$work/root

say "a bare Debian root"
mirror=$(sed -n 's/^deb [^h]*\(http[^ ]*\) bookworm .*/\1/p; s/^URIs: //p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1 || true)
debootstrap --variant=minbase bookworm "$image" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 ||
  die "debootstrap failed: $(tail -1 "$work/debootstrap.log")" "look at the network and the package sources"
for settings in /etc/apt/apt.conf.d /etc/apt/sources.list /etc/apt/sources.list.d; do
  [[ -e $settings ]] && cp -rT "$settings" "$image$settings"
done
cp /etc/resolv.conf "$image/etc/"

say "the steps of stage engine"
stage engine | sed -n 's/^RUN //p' >"$work/run"
[[ -s $work/run ]] || die "the Dockerfile's stage engine has no step" "did it get another name?"
chroot "$image" bash -eu -c "$(<"$work/run")" >"$work/run.log" 2>&1 || {
  tail -5 "$work/run.log" >&2
  die "a step failed" "see the lines above"
}
install -D "$lsie" "$image/usr/local/bin/lsie"
mkdir -p "$image$(setting LSIE_CACHE)"
cp -r "$models" "$image$(setting LSIE_CACHE)/models"
[[ $(stage engine | sed -n 's/^COPY .* //p' | wc -l) -eq 3 ]] || die "stage engine copies other things than before" "tell this script"

# A command in the root as the image's user, everything read-only but the volume and /tmp, without a network.
inside() {
  local user
  user=$(stage engine | sed -n 's/^USER \([0-9]*\).*/\1/p')
  unshare --mount --net --pid --fork -- bash -eu -c '
    mount --bind "$1" "$1"
    mount -o remount,bind,ro "$1"
    mount -t tmpfs -o mode=1777 none "$1/tmp"
    mount -t tmpfs -o "uid=$2" none "$1/var/lib/lsie"
    mount -t proc none "$1/proc"
    ip link set lo up 2>/dev/null || true
    exec chroot --userspec="$2:$2" "$1" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/var/lib/lsie LSIE_CACHE="$3" \
      bash -eu -c "cd /var/lib/lsie; $4"
  ' - "$image" "$user" "$(setting LSIE_CACHE)" "$1"
}

say "which libraries are missing"
# shellcheck disable=SC2016 # it is the inner shell that expands it
inside 'missing=$(ldd /usr/local/bin/lsie | grep "not found" || true); [[ -z $missing ]] || { echo "$missing"; exit 1; }'
say "it is nobody in particular, and cannot write to its root"
# shellcheck disable=SC2016
inside '[[ $(id -u) != 0 ]]; ! touch /usr/local/bin/x 2>/dev/null; touch /var/lib/lsie/x /tmp/x'
say "the models run"
inside 'lsie models check'
say "the demo, and its health check"
health=$(stage engine | sed -n 's/.* CMD \["bash", "-c", "\(.*\)"\]$/\1/p' | sed 's/\\\\/\\/g')
[[ -n $health ]] || die "no health check found" "did it get another form?"
inside "lsie demo --port 8000 >demo.log 2>&1 & demo=\$!
  for _ in \$(seq 600); do grep -q 'serving the views' demo.log && break; kill -0 \$demo; sleep 1; done
  $health
  kill -TERM \$demo; wait \$demo; lsie verify lsie-demo/tables | tail -1"
say "all steps went well; the root has $(du -sm --one-file-system "$image" | cut -f1) MB"

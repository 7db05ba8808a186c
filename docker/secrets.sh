#!/usr/bin/env bash
# Makes the secrets that docker/compose.yaml names, as files under docker/secrets. What is there stays as it is. Prints the
# value of LSIE_API_TOKENS for the two tokens of the API, and where those lie.
#
#   sudo docker/secrets.sh [DIR]     as root, since each file belongs to the user that reads it in its container
#
# Of somebody else are oura_secret and oura_client_secret, which the wearable's provider gives: what stands there until you put
# yours is random.
set -euo pipefail

dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
lsie=10001 nobody=65534 grafana=472

umask 077
mkdir -p "$dir"

# Writes standard input to a secret of a user, unless it is there.
keep() {
  local file=$dir/$1 owner=$2
  [[ -s $file ]] || cat >"$file"
  chmod 600 "$file"
  if [[ $(id -u) -eq 0 ]]; then chown "$owner:$owner" "$file"; fi
}

random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# A line of `api.tokens`: name, role, and the hash of a token.
entry() { printf '{name = "%s", role = "%s", sha256 = "%s"}' "$1" "$2" "$(printf %s "$(<"$dir/$3")" | sha256sum | cut -d' ' -f1)"; }

random | keep postgres_password 0
printf 'postgresql://lsie:%s@postgres/lsie' "$(<"$dir/postgres_password")" | keep postgres_url "$lsie"
for name in master_key ingest_token oura_secret oura_client_secret; do random | keep "$name" "$lsie"; done
random | keep operator_token 0
random | keep prometheus_token "$nobody"
random | keep grafana_password "$grafana"

printf "export LSIE_API_TOKENS='[%s, %s]'\n" "$(entry operator operator operator_token)" \
  "$(entry prometheus viewer prometheus_token)"
printf '# log in to the console with the token in %s\n' "$dir/operator_token"

#!/usr/bin/env bash
# Checks what no container engine is needed for: the Dockerfile by hadolint, the compose file and the Kubernetes
# manifests by their schemas and by each other, alert rules and dashboard by promtool. The tools go into ${LSIE_CACHE:-~/.cache/lsie}/lint,
# pinned by hash; promtool is that of Debian's package prometheus, unpacked and not installed, for no server shall run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${LSIE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lsie}/lint
python=${PYTHON:-python3}
die() {
  printf 'lint: %s\n  mend: %s\n' "$1" "$2" >&2
  exit 1
}

install() {
  local wanted
  wanted=$(sha256sum <"$here/lint/requirements.lock" | cut -d' ' -f1)
  [[ -e $tools/ready && $(<"$tools/ready") == "$wanted" ]] && return
  rm -rf "$tools"
  mkdir -p "$tools"
  "$python" -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
    --requirement "$here/lint/requirements.lock" ||
    die "the validators could not be installed" "check the network to the Python package index, then run this again"
  echo "$wanted" >"$tools/ready"
}

install_promtool() {
  promtool=$(command -v promtool) && return
  promtool=$tools/prometheus/usr/bin/promtool
  [[ -x $promtool ]] && return
  local folder
  folder=$(mktemp -d)
  (cd "$folder" && apt-get -qq download prometheus) 2>/dev/null ||
    die "promtool could not be got" "run apt-get update with a network, or install Debian's package prometheus, then run this again"
  dpkg -x "$folder"/prometheus_*.deb "$tools/prometheus"
  rm -rf "$folder"
}

# Alerts: their syntax, what fires them, and that the runbook knows each. The dashboard: that its expressions parse.
check_metrics() {
  local metrics=$here/metrics checked name
  checked=$(mktemp -d)
  cp "$metrics"/*.yaml "$checked"
  touch "$checked/token"
  "$promtool" check config "$checked/prometheus.yaml"
  "$promtool" test rules "$metrics/alerts.test.yaml"
  for name in $(sed -n 's/^ *- alert: //p' "$metrics/alerts.yaml"); do
    grep -qx "## $name" "$here/../docs/RUNBOOK.md" || die "docs/RUNBOOK.md does not know alert $name" "say what it means and what to do"
    grep -q "eval_time: .*alertname: $name}" "$metrics/alerts.test.yaml" &&
      grep -qx "    name: $name" "$metrics/alerts.test.yaml" ||
      die "alert $name is not tested" "docker/metrics/alerts.test.yaml wants a case that fires it, and it among those that do not"
  done
  "$python" - "$metrics/grafana.json" >"$checked/dashboard.yaml" <<'PYTHON'
import json, sys

board = json.load(open(sys.argv[1]))
expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
rules = [{"record": f"dashboard:{n}", "expr": e.replace("$__rate_interval", "5m")} for n, e in enumerate(expressions)]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
PYTHON
  "$promtool" check rules "$checked/dashboard.yaml"
  rm -rf "$checked"
}

install
install_promtool
"$tools/venv/bin/hadolint" "$here/Dockerfile" || die "docker/Dockerfile" "see the lines above"
"$tools/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$here"/compose*.yaml
for file in "$here"/kubernetes/*.yaml; do
  [[ $(basename "$file") == kustomization.yaml ]] && continue
  "$tools/venv/bin/kubernetes-validate" --strict "$file"
done
"$tools/venv/bin/python" "$here/lint/references.py" "$here"
several=$(mktemp --suffix=.yaml)
"$tools/venv/bin/python" "$here/lint/references.py" "$here" --merged >"$several"
"$tools/venv/bin/kubernetes-validate" --strict "$several"
rm -f "$several"
check_metrics

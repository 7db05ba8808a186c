#!/usr/bin/env bash
# Checks what no container engine is needed for: the Dockerfile by hadolint, the compose file and the Kubernetes
# manifests by their schemas and by each other, alert rules and dashboard by promtool. The tools are those of lint/tools.sh;
# promtool is that of Debian's package prometheus, unpacked and not installed, for no server shall run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$("$here/lint/tools.sh")
tools=${bin%/venv/bin}
python=${PYTHON:-python3}
die() {
  printf 'lint: %s\n  mend: %s\n' "$1" "$2" >&2
  exit 1
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

install_promtool
"$bin/hadolint" "$here/Dockerfile" || die "docker/Dockerfile" "see the lines above"
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$here"/compose*.yaml
for file in "$here"/kubernetes/*.yaml; do
  [[ $(basename "$file") == kustomization.yaml ]] && continue
  "$bin/kubernetes-validate" --strict "$file"
done
"$bin/python" "$here/lint/references.py" "$here"
several=$(mktemp --suffix=.yaml)
"$bin/python" "$here/lint/references.py" "$here" --merged >"$several"
"$bin/kubernetes-validate" --strict "$several"
rm -f "$several"
check_metrics

#!/usr/bin/env bash
# The chart in agent/packaging/helm, rendered by Helm's own code (its SDK as a library for Python), linted, and compared with the schemas
# of Kubernetes; its settings and its command lines by heartsay itself. No cluster is asked. Needs python3 with venv, and the network
# once to install the two; says so and passes where it cannot have them.
#
#   scripts/ci/chart.sh [target/debug/heartsay]      built with --features kubernetes
#
# VENV=DIR keeps the environment of Python there for the next run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Helm 4.2.3.
HELM=0.2.2
SCHEMAS=1.37.0
HEARTSAY=${1:-${CARGO_TARGET_DIR:-target}/debug/heartsay}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

[[ -x $HEARTSAY ]] || { echo "$HEARTSAY is not there; cargo build -p heartsay --features kubernetes" >&2 && exit 1; }
venv=${VENV:-$WORK/venv}
if [[ ! -x $venv/bin/kubernetes-validate ]]; then
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q "helm-python-sdk==$HELM" "kubernetes-validate==$SCHEMAS"; } ||
        { echo "SKIPPED: Helm's SDK cannot be installed; the chart is not rendered" && exit 0; }
fi
"$venv/bin/python" - agent/packaging/helm/heartsay "$WORK" "$HEARTSAY" <<'PYTHON'
import pathlib, subprocess, sys

import yaml
from helm_python import Chart
from helm_python.chart import lint

chart, work, heartsay = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
good = {
    "default": {},
    "full": {"image": "registry.example/heartsay:1", "cluster": "shop", "seeds": ["10.0.0.9", "gw.example:4328"], "expected": 5, "keySecret": "key"},
    "plain": {"expected": "role=voter:3", "keySecret": ""},
}
for name, values in good.items():
    found = lint(chart, values, strict=True, namespace="ns", kube_version="v1.30.0")
    assert not found["errors"] and all(message["severity"] < 2 for message in found["messages"]), found
    rendered = Chart.load(chart).render(values, name="release", namespace="ns", is_install=True)
    text = "\n---\n".join(rendered[path] for path in sorted(rendered) if path.endswith(".yaml"))
    (work / f"{name}.yaml").write_text(text)
    things = {thing["kind"]: thing for thing in yaml.safe_load_all(text) if thing}

    # What the agent is told, is settings.
    settings = things["ConfigMap"]["data"]["heartsay.toml"]
    (work / "keyring").write_text(subprocess.run([heartsay, "keygen"], check=True, capture_output=True, text=True).stdout)
    (work / "keyring").chmod(0o400)
    file = work / f"{name}.toml"
    file.write_text(settings.replace("/etc/heartsay-key/keyring", str(work / "keyring")))
    subprocess.run([heartsay, "config", "check", str(file)], check=True, stdout=subprocess.DEVNULL)
    assert ("key_file" in settings) == (values.get("keySecret") != ""), settings
    assert ("expected" in settings) == ("expected" in values), settings

    # What is started, is verbs and flags.
    pod = things["DaemonSet"]["spec"]["template"]["spec"]
    for container in pod["containers"]:
        subprocess.run([heartsay, *container["args"], "--help"], check=True, stdout=subprocess.DEVNULL)
    assert {mount["name"] for c in pod["containers"] for mount in c["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}

    # No right that is not needed.
    assert [rule["verbs"] for rule in things["ClusterRole"]["rules"]] == [["get", "list", "patch"]]
    print(f"{name}: rendered")
values = [line for line in pathlib.Path(chart, "values.yaml").read_text().splitlines() if line[:1].isalpha()]
assert len(values) <= 5, values
for bad in [{"seeds": "10.0.0.1"}, {"nonsense": 1}, {"image": ""}]:
    try:
        Chart.load(chart).validate_schema(bad)
    except Exception:
        continue
    sys.exit(f"accepted: {bad}")
PYTHON
"$venv/bin/kubernetes-validate" --strict "$WORK"/*.yaml

#!/usr/bin/env bash
# Runs the experiments S1 to S12 in the simulator and writes docs/results/DATE.md with what came out.
#
#   scripts/results.sh              ten seeds where time allows, about 15 minutes on two cores
#   ONLY=S1 scripts/results.sh      only the experiments whose name begins so
#   SEEDS=3 LIMIT=60 scripts/results.sh    fewer seeds; no single run longer than a minute
#
# Every row is one command, printed beside its result. A run that does not end within LIMIT seconds is
# written down as such. Broken limits and checks are results too: they do not stop the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SEEDS=${SEEDS:-10}
LIMIT=${LIMIT:-150}
SIM=${SIM:-target/release/heartsay-sim}
OUT=${OUT:-docs/results/$(date +%F).md}

# experiment | what is compared with | measure (of the JSON summary) | seeds at most | arguments of `run`
rows() {
    cat <<'ROWS'
S1|target: suspect mean ≤ 0.8, p99 ≤ 1.5; down p99 ≤ 3.5. Baseline: memberlist N=1000 ≥ 12 s, Akka 4.5 s|detection|10|crash --nodes 8
S1||detection|10|crash --nodes 32
S1||detection|10|crash --nodes 128
S1||detection|1|crash --nodes 1000
S1, 1 % loss|the same|detection|10|crash-lossy --nodes 8
S1, 1 % loss||detection|10|crash-lossy --nodes 32
S1, 1 % loss||detection|10|crash-lossy --nodes 128
S1, one rack|correlated twin of S1|detection|5|rack
S2|target: down median ≤ 0.8, p99 ≤ 1.6|detection|10|process-crash
S3, join at 10 %|target: 17 of 17. Baseline: SWIM keeps 12|mistakes|10|join-under-loss
S3, 30 %|target: 0 FP in 600 s at 128. Baseline: foca collapses|mistakes|1|loss-30
S3, 50 %|target: ≤ 1 needless eviction per hour|mistakes|1|loss-50
S4, 1.5 s|target: no eviction for D ≤ 1.5 s|mistakes|5|short-block
S4, C 1, D 4 s|target: median ≤ 3, p99.9 ≤ 6. Baseline: 12.45 / 21.20 s|stalled|5|threshold --set fault.0.who=1 --set fault.0.for=4096ms
S4, C 8, D 16 s||stalled|5|threshold
S4, C 32, D 16 s||stalled|3|threshold --set fault.0.who=32
S4, C 32, D 33 s||stalled|2|threshold --set fault.0.who=32 --set fault.0.for=32768ms
S5, C 8, D 2 s, I 64 ms|target: FP ≤ 500, FP- ≤ 5 in 4,320 runs. Baseline: Lifeguard 5,193 / 25, SWIM 339,002 / 1,326|mistakes|5|interval
S5, C 32, D 16 s, I 4 ms||mistakes|2|interval --set fault.0.who=32 --set fault.0.on=16384ms --set fault.0.off=4ms
S5, C 32, D 4 s, I 1 s||mistakes|2|interval --set fault.0.who=32 --set fault.0.on=4096ms --set fault.0.off=1024ms
S6, 256|no target at this size|formation|5|bootstrap --nodes 256 --duration 20s
S6, 1,000|target: ≤ 3 s; seed ≤ 5 MB/s. Baseline at 2,000: Rapid 53 s, memberlist 97 s|formation|1|bootstrap --duration 15s
S7, 10 of 128|target: ≤ 4 s|detection|5|many-crashes --nodes 128
S7, half of 128|target: quorum loss reported at ≥ 50 %|detection|5|half-crashes
S8 (a) deaf|target: the sick once each, 0 healthy. Baseline: memberlist oscillates for 900 s|mistakes|1|gray-deaf
S8 (b) sends lost||mistakes|1|gray-send
S8 (c) receipts lost||mistakes|1|gray-receive
S8 (d) one link|target: 0 changes|mistakes|5|one-link
S10, 100|baseline: chitchat 31.9 kB/s, serf 271 B/s (at 128)|bytes|5|quiet --nodes 100 --duration 60s
S10, 128|target: ≤ 271 B/s|bytes|5|quiet --duration 60s
S10, 256|no target at this size|bytes|2|quiet --nodes 256 --duration 40s
S11, 50 / 50|target: one view ≤ 5 s after the heal, nobody evicted after it. Baseline: memberlist 30 to 180 s|agreement|5|partition
S11, 30 / 70||agreement|3|partition-30-70
S11, three ways||agreement|3|partition-three
S11, one way||agreement|3|one-way
S12, mass restart|target: no ghost 10 s after|agreement|3|mass-restart
S12, crash loop||agreement|3|crash-loop
S12, churn||agreement|3|churn
ROWS
}

main() {
    [[ -x $SIM ]] || cargo build --release -p heartsay-simulator
    mkdir -p "$(dirname "$OUT")"
    # As of now: the run takes a while, and what is measured is this program.
    local commit
    commit=$(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD || echo ', with changes')
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    local n=0 name against measure most arguments seeds status
    : >"$work/rows"
    while IFS='|' read -r name against measure most arguments; do
        n=$((n + 1))
        seeds=$((most < SEEDS ? most : SEEDS))
        status=0
        echo "$(date +%T) $name: run $arguments --seeds $seeds" >&2
        # shellcheck disable=SC2086 # the arguments are words
        timeout "$LIMIT" "$SIM" run $arguments --seeds "$seeds" --lenient -o json >"$work/$n.json" 2>"$work/$n.err" || status=$?
        printf '%s|%s|%s|%s|%s|%s\n' "$n" "$status" "$name" "$against" "$measure" "run $arguments --seeds $seeds" >>"$work/rows"
    done < <(rows | grep -E "^${ONLY:-}")
    {
        echo "# Results of $(date +%F)"
        echo
        echo "Commit $commit, $(nproc) cores, by \`SEEDS=$SEEDS LIMIT=$LIMIT scripts/results.sh\`. Times in"
        echo "virtual seconds; *FP*: healthy members called down, per observer (*FP-*: by healthy observers). Bytes with 28 B"
        echo "of headers per datagram. Each row is \`heartsay-sim\` with the words in its last column; the same seed gives the"
        echo "same figures. Sizes below those of the targets stand where a larger run takes too long."
        echo
        table "$work"
        echo
        echo "## S9: one link"
        echo
        echo '```text'
        "$SIM" one-link
        echo '```'
        echo
        echo "## Other detectors on the same faults (models, see docs/simulator.md)"
        local scenario
        for scenario in crash crash-lossy threshold interval; do
            echo
            echo '```text'
            timeout "$LIMIT" "$SIM" compare-detectors "$scenario" --seeds 2 || echo "$scenario: not finished in $LIMIT s"
            echo '```'
        done
        echo
        echo "## The simulator itself"
        echo
        echo '```text'
        timeout "$LIMIT" "$SIM" bench --nodes 128 || echo "not finished in $LIMIT s"
        echo '```'
    } >"$OUT"
    echo "$OUT" >&2
}

table() {
    python3 - "$1" <<'PY'
import json, sys

folder = sys.argv[1]

def short(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"

def spread(s, keys):
    if not s["count"]:
        return "never" if s["missing"] else "none"
    words = " / ".join(short(s[key]) for key in keys)
    return words + (f" ({s['missing']} missing)" if s["missing"] else "")

def mistakes(s):
    return (f"FP {s['false_positives']}, FP- {s['false_positives_by_healthy']}, healthy evicted "
            f"{s['healthy_evicted']}, needless {s['needless_evictions']}")

def measure(kind, report):
    s = report["summary"]
    if kind == "detection":
        text = (f"suspect mean / p99 {spread(s['suspect'], ('mean', 'p99'))}; "
                f"down median / p99 {spread(s['down'], ('median', 'p99'))}; FP {s['false_positives']}")
        held, lost, unsettled = s["quorum"]
        return text + (f"; quorum held {held}, lost {lost}, unsettled {unsettled}" if held + lost + unsettled else "")
    if kind == "stalled":
        first = spread(s["stalled_down_first"], ("median", "p99", "p999"))
        return f"first down median / p99 / p99.9 {first}; {mistakes(s)}"
    if kind == "formation":
        return (f"full views median / p99 / max {spread(s['formation'], ('median', 'p99', 'max'))}; "
                f"peak {short(s['bytes_peak'] / 1e6)} MB/s")
    if kind == "bytes":
        return f"mean / p99 {spread(s['bytes'], ('mean', 'p99'))} B/s and member; {short(s['datagrams'])} datagrams/s"
    if kind == "agreement":
        return (f"agreement median / max {spread(s['agreement'], ('median', 'max'))}; {mistakes(s)}; "
                f"{short(s['bytes']['mean'])} B/s")
    return (f"{mistakes(s)}; divergence {short(s['divergence'])} member-s; {short(s['bytes']['mean'])} B/s"
            + (f"; newcomers' full view max {short(s['newcomer_full']['max'])}, missing "
               f"{s['newcomer_full']['missing']}" if s["newcomer_full"]["count"] else ""))

print("| | measured | beside | N | seeds | checks | limits broken | command |")
print("|---|---|---|---|---|---|---|---|")
for line in open(f"{folder}/rows", encoding="utf-8"):
    number, status, name, against, kind, command = line.rstrip("\n").split("|")
    try:
        with open(f"{folder}/{number}.json", encoding="utf-8") as file:
            report = json.load(file)
    except ValueError:
        why = "not finished in time" if status == "124" else f"failed: {open(f'{folder}/{number}.err').read().strip()}"
        print(f"| {name} | {why} | {against} | | | | | `{command}` |")
        continue
    broken = [f"{b['key']} {'never' if b['measured'] is None else short(b['measured'])} > {short(b['limit'])}"
              for b in report["budget"] if not b["kept"]]
    violations = [r["violations"] for r in report["runs"]]
    count = sum(v["count"] for v in violations)
    rules = sorted({first["rule"] for v in violations for first in v["first"]})
    checks = "kept" if count == 0 else f"**{count} broken** ({', '.join(rules)})"
    print(f"| {name} | {measure(kind, report)} | {against} | {report['nodes']} | {len(report['runs'])} | {checks} | "
          f"{', '.join(broken) or 'none'} | `{command}` |")
PY
}

main "$@"
exit

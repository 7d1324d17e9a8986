#!/usr/bin/env bash
# Runs the experiments S1 to S12 in the simulator and writes docs/results/DATE.md with what came out.
#
#   scripts/results.sh                       everything; most rows have ten seeds
#   ONLY='S1\|' scripts/results.sh            only the rows that begin so (a regular expression), into a file of their own
#   ONLY='S8 \(a\) deaf, 200' scripts/results.sh
#   SKIP='nodes 10000' scripts/results.sh    all but the rows in which this occurs
#   SEEDS=3 LIMIT=60 scripts/results.sh      fewer seeds; no single row longer than a minute
#   LIST=1 scripts/results.sh                names of the rows and their commands
#
# Every row is one command, printed beside its result. A run that does not end within LIMIT seconds is
# written down as such. Broken limits and checks are results too: they do not stop the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SEEDS=${SEEDS:-100}
LIMIT=${LIMIT:-3600}
SIM=${SIM:-target/release/heartsay-sim}
# Single rows must not overwrite the whole.
OUT=${OUT:-docs/results/$(date +%F)${ONLY:+-$(tr -cs '[:alnum:]' - <<<"$ONLY" | sed 's/^-//;s/-$//')}.md}

# experiment | what is compared with | measure (of the JSON summary) | seeds at most | command
rows() {
    cat <<'ROWS'
S1|target: suspect mean ≤ 0.8, p99 ≤ 1.5; down p99 ≤ 3.5. Baseline: memberlist N=1000 ≥ 12 s, Akka 4.5 s|detection|30|run crash --nodes 8
S1||detection|30|run crash --nodes 32
S1||detection|20|run crash --nodes 128
S1||detection|10|run crash --nodes 1000
S1||detection|1|run crash --nodes 10000 --set fault.0.at=40s --duration 60s
S1, 1 % loss|the same|detection|30|run crash-lossy --nodes 8
S1, 1 % loss||detection|30|run crash-lossy --nodes 32
S1, 1 % loss||detection|20|run crash-lossy --nodes 128
S1, 1 % loss||detection|10|run crash-lossy --nodes 1000
S1, one rack|correlated twin of S1|detection|10|run rack
S1, one rack||detection|10|run rack --nodes 1000
S2|target: down median ≤ 0.8, p99 ≤ 1.6|detection|20|run process-crash
S2||detection|10|run process-crash --nodes 1000
S3, join at 10 %|target: 17 of 17. Baseline: SWIM keeps 12|mistakes|20|run join-under-loss
S3, 30 %|target: 0 FP in 600 s at 128. Baseline: foca collapses|mistakes|10|run loss-30
S3, 50 %|target: ≤ 1 needless eviction per hour, six runs of 10 min|mistakes|6|run loss-50
S4, D ≤ 1.5 s|target: no eviction for D ≤ 1.5 s|sweep|10|sweep threshold --over fault.0.who=1,8,16,32 --over fault.0.for=128ms,512ms,1024ms,1500ms --duration 45s
S4, D 4 to 33 s|target: median ≤ 3, p99.9 ≤ 6. Baseline: 12.45 / 21.20 s|sweep|10|sweep threshold --over fault.0.who=1,8,16,32 --over fault.0.for=4096ms,8192ms,16384ms,32768ms
S4, all 810|the whole grid of the paper|sweep|10|sweep threshold --over fault.0.who=1,4,8,12,16,20,24,28,32 --over fault.0.for=128ms,256ms,512ms,1024ms,2048ms,4096ms,8192ms,16384ms,32768ms
S5, 96 of 4,320|target: FP ≤ 500, FP- ≤ 5 in 4,320 runs. Baseline: Lifeguard 5,193 / 25, SWIM 339,002 / 1,326|sweep|2|sweep interval --over fault.0.who=1,8,32 --over fault.0.on=512ms,2048ms,8192ms,32768ms --over fault.0.off=4ms,64ms,1024ms,16384ms
S5, all 4,320|the whole grid of the paper|sweep|10|sweep interval --over fault.0.who=1,4,8,12,16,20,24,28,32 --over fault.0.on=128ms,512ms,2048ms,8192ms,16384ms,32768ms --over fault.0.off=1ms,4ms,16ms,64ms,256ms,1024ms,4096ms,16384ms
S6, 1,000|target: ≤ 3 s; seed ≤ 5 MB/s. Baseline at 2,000: Rapid 53 s, memberlist 97 s|formation|10|run bootstrap --duration 15s
S6, 2,000|target: ≤ 5 s|formation|3|run bootstrap --nodes 2000 --duration 15s
S6, 10,000|target: ≤ 20 s|formation|1|run bootstrap --nodes 10000 --duration 25s
S6, newcomer|target: ≤ 2 s. Baseline: foca 28 min|newcomer|10|run newcomer
S7, 10 of 1,000|target: all right ≤ 4 s|detection|10|run many-crashes
S7, 25 %|target: ≤ 8 s|detection|10|run many-crashes --set fault.0.who=25%
S7, half of 128|target: quorum loss reported at ≥ 50 %|detection|10|run half-crashes
S7, half of 1,000||detection|3|run half-crashes --nodes 1000
S8 (a) deaf, 200|target: the sick once each within 30 s, 0 healthy. Baseline: memberlist oscillates for 900 s|gray|10|run gray-deaf
S8 (b) sends lost, 200||gray|10|run gray-send
S8 (c) receipts lost, 200||gray|10|run gray-receive
S8 (d) one link, 128|target: 0 changes|gray|10|run one-link
S8 (a) deaf, 1,000|as above|gray|3|run gray-deaf --nodes 1000 --duration 930s
S8 (b) sends lost, 1,000||gray|3|run gray-send --nodes 1000 --duration 930s
S8 (c) receipts lost, 1,000||gray|3|run gray-receive --nodes 1000 --duration 930s
S8 (d) one link, 1,000||gray|3|run one-link --nodes 1000 --duration 930s
S10, 100|baseline: chitchat 31.9 kB/s, serf 271 B/s (at 128)|bytes|10|run quiet --nodes 100
S10, 128|target: ≤ 271 B/s|bytes|10|run quiet
S10, 1,000|target: ≤ 0.9 kB/s|bytes|3|run quiet --nodes 1000
S10, 10,000|target: ≤ 7 kB/s|bytes|1|run quiet --nodes 10000 --duration 40s
S11, 50 / 50|target: one view ≤ 5 s after the heal, nobody evicted after it. Baseline: memberlist 30 to 180 s|agreement|10|run partition
S11, 30 / 70||agreement|10|run partition-30-70
S11, three ways||agreement|10|run partition-three
S11, one way||agreement|10|run one-way
S11, 50 / 50||agreement|3|run partition --nodes 1000
S11, 30 / 70||agreement|3|run partition-30-70 --nodes 1000
S12, mass restart|target: no ghost 10 s after|ghosts|10|run mass-restart
S12, mass restart||ghosts|3|run mass-restart --nodes 1000
S12, crash loop||ghosts|10|run crash-loop --set fault.0.for=600s --duration 660s
S12, churn||ghosts|10|run churn
S12, churn, a tenth per hour||ghosts|1|run churn --nodes 1000 --set fault.0.every=36s --set fault.0.for=3600s --duration 3660s
ROWS
}

main() {
    if [[ ${LIST:-} ]]; then
        rows | awk -F'|' '{ printf "%-30s heartsay-sim %s --seeds %s\n", $1, $5, $4 }'
        return
    fi
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
        echo "$(date +%T) $name: $arguments --seeds $seeds" >&2
        local lenient=--lenient began=$SECONDS
        [[ $arguments == run* ]] || lenient=
        # shellcheck disable=SC2086 # the arguments are words
        timeout "$LIMIT" "$SIM" $arguments --seeds "$seeds" $lenient -o json >"$work/$n.json" 2>"$work/$n.err" || status=$?
        printf '%s|%s|%s|%s|%s|%s|%s\n' "$n" "$status" "$name" "$against" "$measure" "$arguments --seeds $seeds" "$((SECONDS - began))" >>"$work/rows"
    done < <(rows | grep -E "^${ONLY:-}" | grep -vE "${SKIP:-^$}")
    {
        echo "# Results of $(date +%F)"
        echo
        echo "Commit $commit, $(nproc) cores, by \`SEEDS=$SEEDS LIMIT=$LIMIT scripts/results.sh\`. Times in"
        echo "virtual seconds; *FP*: healthy members called down, per observer (*FP-*: by healthy observers). Bytes with 28 B"
        echo "of headers per datagram. Each row is \`heartsay-sim\` with the words in its last column; the same seed gives the"
        echo "same figures. *Real s* is what the row took here, on all cores."
        echo
        table "$work"
        [[ ${ONLY:-} ]] || rest
    } >"$OUT"
    echo "$OUT" >&2
}

# What is no row: single links, other detectors, the simulator itself.
rest() {
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
                f"peak {short(s['bytes_peak'] / 1e6)} MB/s, of the seed {short(s['bytes_contact'] / 1e6)}")
    if kind == "newcomer":
        return (f"its full view median / max {spread(s['newcomer_full'], ('median', 'max'))}; known to each "
                f"{spread(s['newcomer_known'], ('median', 'p99', 'max'))}; peak {short(s['bytes_peak'] / 1e6)} MB/s")
    if kind == "gray":
        once = s["removed"]["count"]
        return (f"removed by most {once} of {once + s['removed']['missing']}, after median / max "
                f"{spread(s['removed'], ('median', 'max'))}, again {s['removed_again']} times; healthy removed "
                f"{s['healthy_removed']}; FP {s['false_positives']}, FP- {s['false_positives_by_healthy']}; "
                f"any called down {s['called_down']}")
    if kind == "ghosts":
        return (f"last ghost gone median / max {spread(s['ghosts_gone'], ('median', 'max'))}; agreement max "
                f"{spread(s['agreement'], ('max',))}; largest table {short(s['table_max'])}; {mistakes(s)}; "
                f"{short(s['bytes']['mean'])} B/s, peak {short(s['bytes_peak'] / 1e3)} kB/s")
    if kind == "bytes":
        return f"mean / p99 {spread(s['bytes'], ('mean', 'p99'))} B/s and member; {short(s['datagrams'])} datagrams/s"
    if kind == "agreement":
        return (f"agreement median / max {spread(s['agreement'], ('median', 'max'))}; {mistakes(s)}; "
                f"{short(s['bytes']['mean'])} B/s")
    return (f"{mistakes(s)}; divergence {short(s['divergence'])} member-s; {short(s['bytes']['mean'])} B/s"
            + (f"; newcomers' full view max {short(s['newcomer_full']['max'])}, missing "
               f"{s['newcomer_full']['missing']}" if s["newcomer_full"]["count"] else ""))

def sweep(report):
    s, points = report["all"], report["points"]
    runs = len(points) * len(report["seeds"])
    first = spread(s["stalled_down_first"], ("median", "p99", "p999"))
    return f"{runs} runs; first down median / p99 / p99.9 {first}; {mistakes(s)}"

print("| | measured | beside | N | seeds | checks | limits broken | real s | command |")
print("|---|---|---|---|---|---|---|---|---|")
for line in open(f"{folder}/rows", encoding="utf-8"):
    number, status, name, against, kind, command, took = line.rstrip("\n").split("|")
    try:
        with open(f"{folder}/{number}.json", encoding="utf-8") as file:
            report = json.load(file)
    except ValueError:
        why = "not finished in time" if status == "124" else f"failed: {open(f'{folder}/{number}.err').read().strip()}"
        print(f"| {name} | {why} | {against} | | | | | {took} | `{command}` |")
        continue
    if kind == "sweep":
        bad = sum(len(p["broken-seeds"]) for p in report["points"])
        print(f"| {name} | {sweep(report)} | {against} | {report['nodes']} | {len(report['seeds'])} | "
              f"{'kept' if bad == 0 else f'**broken in {bad} runs**'} | | {took} | `{command}` |")
        continue
    broken = [f"{b['key']} {'never' if b['measured'] is None else short(b['measured'])} > {short(b['limit'])}"
              for b in report["budget"] if not b["kept"]]
    violations = [r["violations"] for r in report["runs"]]
    count = sum(v["count"] for v in violations)
    rules = sorted({first["rule"] for v in violations for first in v["first"]})
    checks = "kept" if count == 0 else f"**{count} broken** ({', '.join(rules)})"
    print(f"| {name} | {measure(kind, report)} | {against} | {report['nodes']} | {len(report['runs'])} | {checks} | "
          f"{', '.join(broken) or 'none'} | {took} | `{command}` |")
PY
}

main "$@"
exit

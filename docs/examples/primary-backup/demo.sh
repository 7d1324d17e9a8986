#!/usr/bin/env bash
# Two nodes and a witness, each in a network namespace of its own. The one that is primary is cut off,
# twice; then the log shows who was primary when, and whether ever both were. About 80 seconds; needs
# root, iproute2 and nftables. A file stands in for the watchdog device of each node: nothing is reset.
#
#   cargo build --release && sudo docs/examples/primary-backup/demo.sh
#
# Exit code 1: both were primary at the same time. 3: it cannot be done on this machine.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../../.." && pwd)
export HEARTSAY_BIN=${HEARTSAY_BIN:-$ROOT/target/release/heartsay}
export HEARTSAY_NETNS=hspb$$
export HEARTSAY_NETNS_DIR=/tmp/$HEARTSAY_NETNS
LOG=$HEARTSAY_NETNS_DIR/primary.log
CUT=15

main() {
    pids=()
    began=$(date +%s%3N)
    trap finish EXIT
    trap 'exit 130' INT TERM
    net up 3 --log-level warn --fence >/dev/null
    : >"$LOG"
    node 1 m2 preferred
    node 2 m1
    await m1
    sleep 3
    cut_off 1
    await m2
    sleep 3
    cut_off 2
    await m1
    sleep 3
    # The nodes stop their primaries themselves when they are told to.
    stop_nodes
    verdict
}

net() {
    "$ROOT/scripts/cluster/netns.sh" "$@"
}

node() {
    local i=$1
    shift
    : >"$HEARTSAY_NETNS_DIR/dog$i"
    HEARTSAY_SOCKET=$HEARTSAY_NETNS_DIR/$i.sock "$HEARTSAY_BIN" exec --while-quorum --restart \
        --watchdog "$HEARTSAY_NETNS_DIR/dog$i" --stand-in -- "$HERE/node.sh" "m$i" "$1" "$LOG" "${@:2}" \
        2> >(sed "s/^/        m$i: /") &
    pids+=($!)
}

# Pulls the cable of one host, waits, and puts it back.
cut_off() {
    say "m$1, the primary, is cut off from the others"
    net cut "$1"
    sleep "$CUT"
    net heal
    say "the cut is healed"
}

# Waits until a host is primary, and the only one for half a second.
await() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if [[ $(tail -n 5 "$LOG" | cut -d ' ' -f 2 | sort -u) == "$1" ]] && fresh; then
            say "$1 is primary"
            return
        fi
        sleep 0.1
    done
    echo "demo.sh: $1 did not become primary" >&2
    exit 2
}

fresh() {
    (($(date +%s%3N) - $(tail -n 1 "$LOG" | cut -d ' ' -f 1) < 500))
}

# Every reign, from the log of both; a reign that is interrupted by another one is a double primary.
verdict() {
    echo
    sort -n "$LOG" | awk -v began="$began" '
        function told() {
            if (reign != "") printf "%6.1f s to %6.1f s  %s was primary\n", begin, end, name
        }
        {
            at = ($1 - began) / 1000
            if ($2 " " $3 != reign) {
                told()
                reign = $2 " " $3
                name = $2
                begin = at
                both += reign in seen
                seen[reign] = 1
            }
            end = at
        }
        END {
            told()
            print both ? "BOTH were primary at the same time" : "never were both primary"
            exit both > 0
        }'
}

say() {
    printf '%6.1f s  %s\n' "$(($(date +%s%3N) - began))e-3" "$1"
}

stop_nodes() {
    ((${#pids[@]} == 0)) || kill -TERM "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
    pids=()
}

finish() {
    trap '' INT TERM
    stop_nodes
    net down || true
}

main

#!/usr/bin/env bash
# One of the two nodes: waits until it may act, then acts as primary until it is told to stop.
# Run it under `heartsay exec --while-quorum --restart`: all of this happens only while quorum is held.
#
#   HEARTSAY_SOCKET=... node.sh ME OTHER LOG [preferred]
set -euo pipefail

ME=$1 OTHER=$2 LOG=$3 PREFERRED=${4:-}
HEARTSAY=${HEARTSAY_BIN:-heartsay}
# How long the other one has to be down before we take over. It has seen its loss of quorum before we see
# it down; this leaves it time to stop, the grace of its `heartsay exec` included.
HOLD=2

main() {
    trap stop TERM
    "$HEARTSAY" tags delete acting >/dev/null || true
    until may_act; do
        pause 0.2
    done
    "$HEARTSAY" tags set acting=yes >/dev/null
    # The work of a primary: here, a line ten times a second that says so.
    while :; do
        echo "$(date +%s%3N) $ME $$" >>"$LOG"
        pause 0.1
    done
}

# Nobody acts, and it is for us to begin; or the other one is down for good.
may_act() {
    local code=0
    "$HEARTSAY" members --tag acting=yes --status alive --status suspect >/dev/null 2>&1 || code=$?
    # 4 means nobody. Whatever else went wrong is no permission.
    ((code == 4)) || return 1
    if down; then
        pause "$HOLD"
        down
    else
        [[ $PREFERRED == preferred ]] && alive
    fi
}

down() {
    "$HEARTSAY" wait --for "$OTHER=down" --timeout 300ms >/dev/null 2>&1
}

alive() {
    "$HEARTSAY" wait --for "$OTHER=alive" --timeout 300ms >/dev/null 2>&1
}

# A sleep that a signal ends.
pause() {
    sleep "$1" &
    wait $!
}

stop() {
    "$HEARTSAY" tags delete acting >/dev/null 2>&1 || true
    exit 0
}

main

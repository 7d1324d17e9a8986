#!/usr/bin/env bash
# One of the two nodes: waits until it may act, then acts as primary until it is told to stop.
# Run it under `heartsay exec --while-quorum --restart --watchdog ...`: all of this happens only while quorum is held. The
# agents keep a fence (`fence = true`).
#
#   HEARTSAY_SOCKET=... node.sh ME OTHER LOG [preferred]
set -euo pipefail

ME=$1 OTHER=$2 LOG=$3 PREFERRED=${4:-}
HEARTSAY=${HEARTSAY_BIN:-heartsay}
# How long after the end of its proof of quorum the other one may still act. `heartsay exec --watchdog` says it; it is the
# same on both nodes. Without a watchdog nothing is certain, and this leaves the other one time to stop.
HOLD=${HEARTSAY_TAKEOVER_HOLD:-2}
# A proof of quorum is never longer than this, the acceptable pause of the agents in whole seconds.
PAUSE=${ACCEPTABLE_PAUSE:-2}

main() {
    trap stop TERM
    "$HEARTSAY" tags delete acting >/dev/null || true
    until may_act; do
        pause 0.2
    done
    "$HEARTSAY" tags set acting=yes >/dev/null
    # The work of a primary: here, a line ten times a second that says so.
    while :; do
        act
        pause 0.1
    done
}

# No member acts, and what allows this one to act has lasted for as long as it takes to be certain.
may_act() {
    local seen
    free || return 1
    seen=$(other)
    case $seen in
        # Its last proof is over.
        "down fenced "*) pause "$HOLD" ;;
        # Its agent left, or may be another life than the one by which it acted: its last proof is over soon.
        "left "*) pause "$PAUSE" && pause "$HOLD" ;;
        "alive "*) [[ $PREFERRED == preferred ]] && pause "$PAUSE" && pause "$HOLD" ;;
        *) return 1 ;;
    esac || return 1
    # Since when it is so is part of it: one that was back in between has begun anew.
    [[ $(other) == "$seen" ]] && free
}

# The other one as this agent sees it: "down fenced SINCE GENERATION", "alive SINCE GENERATION", ...
other() {
    local line
    line=$("$HEARTSAY" members -o jsonl 2>/dev/null | grep -F "\"name\":\"$OTHER\"") || return 0
    [[ $line =~ \"generation\":([0-9]+) ]] && local life=${BASH_REMATCH[1]}
    [[ $line =~ \"since\":\"([^\"]+)\" ]] && local since=${BASH_REMATCH[1]}
    [[ $line =~ \"status\":\"([a-z]+)\" ]] && local status=${BASH_REMATCH[1]}
    [[ $line != *'"fenced":true'* ]] || status+=" fenced"
    echo "$status $since $life"
}

# No member says that it acts. 4 is that answer; any other trouble is no permission.
free() {
    local code=0
    "$HEARTSAY" members --tag acting=yes --status alive --status suspect >/dev/null 2>&1 || code=$?
    ((code == 4))
}

# Milliseconds by the wall clock, for people, and since the host was started, sleep included, for the judge: that clock is
# never set. By the shell alone: a process that tells the time could be ended before this one.
act() {
    local wall=${EPOCHREALTIME/[.,]/} up
    read -r up _ </proc/uptime
    echo "${wall%???} $ME $$ ${up/./}0" >>"$LOG"
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

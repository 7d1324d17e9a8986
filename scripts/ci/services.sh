#!/usr/bin/env bash
# The check `unit` against a real systemd: boots Debian in systemd-nspawn and looks at what the agent, under its shipped unit, and another
# member know of units that are killed, started anew, slow, left with a child, frozen, masked. Says so and passes where it cannot run.
#
#   scripts/ci/services.sh [target/release/heartsay]
#
# Its last lines say how soon the other member knew of the death of a main process, in ms.
set -euo pipefail

WHAT="checks of units of systemd"
# shellcheck source=scripts/ci/container.sh
. "$(dirname "${BASH_SOURCE[0]}")/container.sh"
# Version 2 also where the host has both.
export UNIFIED_CGROUP_HIERARCHY=1

main() {
    if [[ ${1:-} == inside ]]; then
        inside
        return
    fi
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    run_in_container "${1:-target/release/heartsay}" agent/packaging
}

# --- In the container ---------------------------------------------------------

inside() {
    trap verdict EXIT
    ip link set lo up
    install -m 755 /src/target/release/heartsay /usr/bin/heartsay
    install -m 644 /src/agent/packaging/heartsay.service /etc/systemd/system/heartsay.service
    useradd --system heartsay
    units
    agents
    a_killed_one_is_critical_and_says_why
    one_that_is_killed_leaves_a_child_that_does_not_end
    one_that_is_started_anew_passes_again
    one_that_is_slow_to_start_or_to_stop_does_not_pass
    one_without_a_process_passes
    a_reload_is_no_event
    what_is_frozen_does_not_serve
    a_masked_one_and_one_of_another_name_say_so
    while_systemd_stands_still_nothing_changes
    without_the_bus_the_kernel_tells
    how_soon
    DONE=1
}

units() {
    unit plain 'ExecStart=/bin/sleep 1000' 'ExecReload=/bin/true'
    unit stubborn 'TimeoutStopSec=4s' "ExecStart=/bin/bash -c \"(trap '' TERM; while :; do sleep 1; done) & exec sleep 1001\""
    unit leaves 'KillMode=process' 'ExecStart=/bin/bash -c "sleep 1000 & exec sleep 1001"'
    unit again 'Restart=always' 'RestartSec=300ms' 'ExecStart=/bin/sleep 1000'
    unit slow 'ExecStartPre=/bin/sleep 4' 'ExecStop=/bin/sleep 4' 'ExecStart=/bin/sleep 1000'
    unit ready 'Type=notify' 'ExecStart=/bin/bash -c "sleep 3; systemd-notify --ready; sleep 1000 & wait"' 'NotifyAccess=all'
    unit once 'Type=oneshot' 'RemainAfterExit=yes' 'ExecStart=/bin/true'
    ln -s plain.service /etc/systemd/system/other-name.service
    ln -s /dev/null /etc/systemd/system/masked.service
    systemctl daemon-reload
    systemctl start plain stubborn leaves again once
}

agents() {
    {
        printf '%s\n' 'cluster = "units"' 'name = "here"' 'bind = "127.0.0.61:4327"' 'seeds = ["127.0.0.62"]'
        local name
        for name in "${NAMES[@]}"; do
            printf '[[service]]\nname = "%s"\n[[service.check]]\nunit = "%s.service"\ninterval = "1h"\ngrace = "0s"\n' "$name" "$name"
        done
    } >/tmp/heartsay.toml
    install -D -m 644 /tmp/heartsay.toml /etc/heartsay/heartsay.toml
    systemd-run --quiet --unit=other heartsay agent --config /dev/null --cluster units --name there --bind 127.0.0.62:4327 \
        --seed 127.0.0.61 --state-dir /tmp/other --socket "$THERE"
    systemctl start heartsay
    soon "the member knows of them" passing again
    good "two are there" heartsay --socket "$THERE" wait --for 'alive==2' --timeout 20s
    timeout "$LIMIT" heartsay --socket "$THERE" watch -o jsonl >/tmp/events &
    soon "the other tells what it hears" test -s /tmp/events
}

a_killed_one_is_critical_and_says_why() {
    soon "it runs" passing plain
    kill_main plain
    soon "it is killed" critical plain
    good "systemd says how it ended" text plain 'failed (failed): signal'
    systemctl start plain
    soon "it is started again" passing plain
}

one_that_is_killed_leaves_a_child_that_does_not_end() {
    soon "one with a child runs" passing stubborn
    kill_main stubborn
    soon "its main process is killed" critical stubborn
    good "while its child runs on" text stubborn 'deactivating (stop-sigterm)'
    kill_main leaves
    soon "also where the child is left for good" critical leaves
    good "in its cgroup" grep -q 'populated 1' /sys/fs/cgroup/system.slice/leaves.service/cgroup.events
    good "and systemd has failed it" text leaves 'failed (failed): signal'
}

one_that_is_started_anew_passes_again() {
    local before
    before=$(events)
    kill_main again
    soon "one with Restart= is critical for a moment" told "$before" service-critical again
    soon "and passes" passing again
}

one_that_is_slow_to_start_or_to_stop_does_not_pass() {
    systemctl start --no-block slow ready
    sleep 1
    good "what runs before the start does not count" critical slow
    good "nor what is not ready" text ready 'activating (start)'
    soon "it has started" passing slow
    soon "it is ready" passing ready
    systemctl stop --no-block slow
    soon "what stops serves no more" text slow 'deactivating (stop)'
}

one_without_a_process_passes() {
    good "a unit that has done its work and stays active passes" passing once
    good "without a process" fails test -e /sys/fs/cgroup/system.slice/once.service
    systemctl stop once
    soon "until it is stopped" critical once
}

a_reload_is_no_event() {
    local before
    before=$(events)
    systemctl reload plain
    systemctl daemon-reload
    sleep 1
    good "a reload is no event" fails told "$before" service-critical plain
    systemctl daemon-reexec
    sleep 1
    good "nor is a systemd that is executed anew" fails told "$before" service-critical plain
    kill_main plain
    soon "changes are still told" critical plain
    systemctl start plain
    soon "both ways" passing plain
}

what_is_frozen_does_not_serve() {
    systemctl freeze again
    soon "what is frozen does not serve" text again 'its processes are frozen'
    systemctl thaw again
    soon "until it is thawed" passing again
}

a_masked_one_and_one_of_another_name_say_so() {
    forget_falls
    good "a masked one says so" text masked 'inactive: masked'
    good "one that is not there too" text absent 'inactive: not-found'
    good "one by another name passes" passing other-name
    kill_main plain
    soon "and fails with it" critical other-name
    systemctl start plain
    soon "and is back with it" passing other-name
}

# As while it reads its units anew on a host with very many.
while_systemd_stands_still_nothing_changes() {
    forget_falls
    local before
    before=$(events)
    # The first process of a namespace cannot be stopped from inside, so its bus is.
    local bus
    bus=$(systemctl show -P MainPID dbus)
    kill -STOP "$bus"
    kill_main again
    soon "without an answer of systemd the kernel tells" told "$before" service-critical again
    good "and nothing else is critical" fails told "$before" service-critical plain
    kill -CONT "$bus"
    soon "it is back" passing again
}

without_the_bus_the_kernel_tells() {
    forget_falls
    local before
    systemctl stop dbus.socket dbus.service 2>/dev/null
    sleep 2
    good "without a bus all is as it was" passing plain
    before=$(events)
    kill_main again
    soon "and the kernel tells" told "$before" service-critical again
    soon "both ways" passing again
    systemctl start dbus.socket dbus.service
}

how_soon() {
    local i before main killed at
    for i in {1..10}; do
        forget_falls
        before=$(events)
        main=$(systemctl show -P MainPID plain)
        killed=$(date +%s%N)
        kill -9 "$main"
        soon "kill $i" told "$before" service-critical plain >/dev/null
        at=$(tail -n "+$((before + 1))" /tmp/events | grep '"service-critical"' | sed -n 's/.*"time":"\([^"]*\)".*/\1/p' | head -1)
        at=$(date -d "$at" +%s%N)
        echo "$(((at - killed) / 10000))" >>/tmp/times
        systemctl start plain
    done
    sort -n /tmp/times | awk '{ t[NR] = $1 / 100 } END { printf "killed until told at the other member, ms: median %.2f, most %.2f (%d kills)\n", t[int((NR + 1) / 2)], t[NR], NR }'
}

# --- Words --------------------------------------------------------------------

NAMES=(plain stubborn leaves again slow ready once masked absent other-name)
THERE=/run/other.sock

unit() {
    printf '%s\n' '[Service]' "${@:2}" >"/etc/systemd/system/$1.service"
}

kill_main() { kill -9 "$(systemctl show -P MainPID "$1")"; }

# One that falls often has to stay up for longer each time; the next agent knows nothing of it.
forget_falls() {
    systemctl restart heartsay
    soon "after a restart of the agent" passing plain >/dev/null
    soon "another too" passing again >/dev/null
    sleep 1
}

passing() { health "$1" passing; }
critical() { health "$1" critical; }
# As the other member sees it.
health() { heartsay --socket "$THERE" service show "$1" -o json | tr -d ' \n' | grep -q "\"health\":\"$2\""; }
text() { heartsay service show "$1" -o json | grep -qF "$2"; }
events() { wc -l </tmp/events; }
told() { tail -n "+$(($1 + 1))" /tmp/events | grep "\"$2\"" | grep -q "\"name\":\"$3\""; }

main "$@"

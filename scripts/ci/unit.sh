#!/usr/bin/env bash
# The shipped unit under a real systemd: boots Debian in systemd-nspawn, installs heartsay by the very lines of
# docs/operations.md, and looks at what operators rely on. As root; says so and passes where it cannot run.
#
#   scripts/ci/unit.sh [target/release/heartsay]
set -euo pipefail

WHAT="the unit under systemd"
# shellcheck source=scripts/ci/container.sh
. "$(dirname "${BASH_SOURCE[0]}")/container.sh"

main() {
    if [[ ${1:-} == inside ]]; then
        inside
        return
    fi
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    run_in_container "${1:-target/release/heartsay}" agent/packaging docs
}

# --- In the container ---------------------------------------------------------

inside() {
    cd /src
    trap verdict EXIT
    ip link set lo up
    ip link add host0 type veth peer name host1
    ip link set host0 up
    ip link set host1 up
    ip address add 10.77.0.61/24 dev host0
    ip address add 10.77.0.62/24 dev host0
    groupadd ops
    installs_by_the_documented_lines
    is_ready_alone_and_joins_later
    knows_the_groups_of_its_callers
    gives_the_socket_to_a_group
    keeps_its_runtime_directory
    stays_away_after_a_good_bye
    does_not_try_wrong_settings_again
    is_never_given_up
    waits_for_its_address
    restarts_without_an_alarm
    DONE=1
}

installs_by_the_documented_lines() {
    rm -rf /etc/sysusers.d /etc/tmpfiles.d
    local lines
    lines=$(sed -n '/^\*\*systemd\.\*\*/,/^systemctl enable/p' docs/operations.md | grep -E '^(install|systemd-[a-z]+|heartsay|systemctl) ')
    local before=${lines%%heartsay config check*}
    (set -e; eval "$before")
    good "the documented lines install it" test "$(wc -l <<<"$before")" -ge 6
    settings 'seeds = ["10.77.0.62"]'
    systemd-analyze security heartsay.service --no-pager | tail -1
    (set -e; eval "heartsay config check${lines##*heartsay config check}")
}

is_ready_alone_and_joins_later() {
    good "it is ready though its seed is not up" systemctl is-active --quiet heartsay
    soon "its status says that it looks for others" status_has "looking for other members; 1 alive"
    systemd-run --quiet --unit=other heartsay agent --config /dev/null --cluster unit --name other --bind 10.77.0.62:4327 \
        --seed 10.77.0.61 --state-dir /tmp/other --socket /run/other.sock
    soon "its status says whom it has found" status_has "2 alive"
}

knows_the_groups_of_its_callers() {
    useradd -G ops,heartsay op
    start_with 'admin_group = "ops"' 'beat_within = "10m"'
    good "a user of admin_group may change tags" runuser -u op -- heartsay tags set a=b
    good "a service whose unit gives it the group may beat" as_service "ops heartsay" heartsay beat
    good "one of socket_group alone may read" as_service heartsay heartsay members
    good "and not change" fails as_service heartsay heartsay tags set a=b
}

gives_the_socket_to_a_group() {
    drop_in SupplementaryGroups=ops
    start_with 'socket_group = "ops"'
    good "socket_group has the socket" test "$(stat -c %G /run/heartsay/heartsay.sock)" = ops
    good "and may read" as_service ops heartsay members
    drop_in
}

keeps_its_runtime_directory() {
    start_with 'seeds = ["10.77.0.62"]'
    local inode
    inode=$(stat -c %i /run/heartsay)
    systemctl restart heartsay
    good "/run/heartsay outlives a restart" test "$(stat -c %i /run/heartsay)" = "$inode"
    systemctl stop heartsay
    systemctl start heartsay
    good "and a stop" test "$(stat -c %i /run/heartsay)" = "$inode"
}

stays_away_after_a_good_bye() {
    heartsay leave
    soon "a good-bye stops the unit" state_is inactive
    sleep 3
    good "and it stays stopped" state_is inactive
    good "which is a success" test "$(systemctl show -P Result heartsay)" = success
}

does_not_try_wrong_settings_again() {
    settings 'acceptable_puase = "3s"'
    good "wrong settings fail the start" fails systemctl start heartsay
    sleep 3
    good "once" test "$(systemctl show -P NRestarts heartsay)" = 0
    good "with exit code 2" test "$(systemctl show -P ExecMainStatus heartsay)" = 2
    systemctl reset-failed heartsay
}

is_never_given_up() {
    BIND=10.77.0.62 settings
    systemctl start --no-block heartsay
    soon "it is tried again and again while its port is taken" restarted 6
    systemctl stop other
    soon "and runs when the port is free" state_is active
    systemctl stop heartsay
}

waits_for_its_address() {
    # Shorter than the wait, which extends it.
    drop_in TimeoutStartSec=4s
    BIND=10.77.0.63 settings
    systemctl start --no-block heartsay
    soon "its status says which address it waits for" status_has "waiting for the address: cannot listen on UDP 10.77.0.63:4327"
    sleep 6
    good "it waits longer than a start may take" state_is activating
    good "in one life" test "$(systemctl show -P NRestarts heartsay)" = 0
    ip address add 10.77.0.63/24 dev host0
    soon "and runs when the address is there" state_is active
    systemctl stop heartsay
    ip address del 10.77.0.63/24 dev host0
    systemctl start --no-block heartsay
    soon "a stop ends the wait" status_has "waiting for the address"
    systemctl stop heartsay
    good "and is no failure" test "$(systemctl show -P Result heartsay)" = success
    drop_in
}

restarts_without_an_alarm() {
    systemd-run --quiet --unit=watcher heartsay agent --config /dev/null --cluster unit --name watcher \
        --bind 10.77.0.62:4327 --seed 10.77.0.61 --state-dir /tmp/other --socket /run/other.sock
    start_with 'seeds = ["10.77.0.62"]'
    heartsay wait --for joined --timeout 20s >/dev/null
    timeout 60 heartsay --socket /run/other.sock watch -o jsonl >/tmp/events &
    local watch=$!
    soon "the stream has a reader" test -s /tmp/events
    good "heartsay restart comes back" heartsay restart
    good "by way of systemd" test "$(systemctl show -P NRestarts heartsay)" = 1
    soon "the watcher sees the restart" grep -q '"member-restart"' /tmp/events
    good "and nothing else" fails grep -E '"member-(left|suspect|down|join)"' /tmp/events
    kill "$watch" 2>/dev/null || true
}

# --- Words --------------------------------------------------------------------

# The file with these lines. A wildcard would take the other addresses too, at which the others live.
settings() {
    printf '%s\n' 'cluster = "unit"' 'name = "here"' "bind = \"${BIND:-10.77.0.61}:4327\"" "$@" >/etc/heartsay/heartsay.toml
}

start_with() {
    settings "$@"
    systemctl restart heartsay
}

# One drop-in with these lines of [Service]; without any, none.
drop_in() {
    mkdir -p /etc/systemd/system/heartsay.service.d
    rm -f /etc/systemd/system/heartsay.service.d/test.conf
    [[ $# -eq 0 ]] || printf '%s\n' '[Service]' "$@" >/etc/systemd/system/heartsay.service.d/test.conf
    systemctl daemon-reload
}

# Of no user and group but those that its unit gives it.
as_service() {
    local groups=$1
    shift
    systemd-run --quiet --wait --collect --pipe -p DynamicUser=yes -p SupplementaryGroups="$groups" "$@"
}

status_has() { [[ $(systemctl show -P StatusText heartsay) == *"$1"* ]]; }
state_is() { [[ $(systemctl show -P ActiveState heartsay) == "$1" ]]; }
restarted() { (($(systemctl show -P NRestarts heartsay) >= $1)); }

main "$@"

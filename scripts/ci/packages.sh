#!/usr/bin/env bash
# The packages: what is in them, and how a Debian host with systemd fares that installs, upgrades, removes and purges them.
# Says so and passes where it cannot run.
#
#   scripts/ci/packages.sh [target/release/heartsay]
set -euo pipefail

WHAT="the packages"
# shellcheck source=scripts/ci/container.sh
. "$(dirname "${BASH_SOURCE[0]}")/container.sh"

main() {
    if [[ ${1:-} == inside ]]; then
        inside
        return
    fi
    cd "$(dirname "${BASH_SOURCE[0]}")/../.."
    local heartsay=${1:-target/release/heartsay} version
    for tool in cargo-deb cargo-generate-rpm dpkg-deb strip; do
        command -v "$tool" >/dev/null || skip "$tool is not installed; scripts/package.sh installs the first two"
    done
    [[ -x $heartsay ]] || fail "$heartsay is not there; cargo build --release -p heartsay"
    WORK=$(mktemp -d)
    trap clean_up EXIT
    for version in 0.1.0 0.2.0; do
        scripts/package.sh --binary "$heartsay" --version "$version" --out "$WORK/$version" >"$WORK/log" 2>&1 ||
            { cat "$WORK/log" >&2 && fail "scripts/package.sh failed"; }
        install -D -m 644 -t "$WORK/src" "$WORK/$version"/*.deb
    done
    has_all_files
    has_all_files_as_rpm
    same_bytes_again "$heartsay"
    ((BAD == 0)) || fail "$BAD bad"
    needs
    make_root
    install -D -m 755 -t "$WORK/src/scripts/ci" scripts/ci/{packages,container}.sh
    boot
    run_inside
}

has_all_files() {
    dpkg-deb -c "$WORK"/src/heartsay_0.1.0_*.deb | awk '{ print $1, $2, $6 }' >"$WORK/list"
    dpkg-deb -e "$WORK"/src/heartsay_0.1.0_*.deb "$WORK/control"
    local file
    for file in "${FILES[@]}" lib/systemd/system/heartsay.service share/zsh/vendor-completions/_heartsay share/doc/heartsay/copyright; do
        good "the .deb has $file" grep -q "^-rw[x-]r-[x-]r-[x-] 0/0 \./usr/$file\$" "$WORK/list"
    done
    good "the program may be run" grep -q '^-rwxr-xr-x 0/0 ./usr/bin/heartsay$' "$WORK/list"
    good "its one file of settings is an example" \
        test "$(grep -v needrestart "$WORK/control/conffiles")" = /etc/heartsay/heartsay.toml.example
    good "nothing but directories, files of root, and no one else may write" fails grep -vE '^(d|-)rw[x-]r-[x-]r-[x-] 0/0 ' "$WORK/list"
    good "it depends on libc" grep -q '^Depends: .*libc6 (>= ' "$WORK/control/control"
    for file in postinst prerm postrm; do
        good "$file is a script of sh" sh -n "$WORK/control/$file"
    done
}

has_all_files_as_rpm() {
    command -v rpm >/dev/null || { echo "SKIPPED: $WHAT: the .rpm is not looked at: rpm is not installed" && return; }
    local rpm=("$WORK"/0.1.0/heartsay-0.1.0-*.rpm) file
    rpm -qp --qf '[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} .%{FILENAMES}\n]' "${rpm[0]}" >"$WORK/rpm" 2>/dev/null
    for file in "${FILES[@]}" lib/systemd/system/heartsay.service share/zsh/site-functions/_heartsay; do
        good "the .rpm has $file" grep -q "^-rw[x-]r-[x-]r-[x-] root/root \./usr/$file\$" "$WORK/rpm"
    done
    good "and three scripts" test "$(rpm -qp --scripts "${rpm[0]}" 2>/dev/null | grep -c 'scriptlet.*:$')" = 3
}

same_bytes_again() {
    scripts/package.sh --binary "$1" --version 0.1.0 --out "$WORK/again" >/dev/null 2>&1
    local file
    for file in "$WORK"/again/*.deb "$WORK"/again/*.rpm; do
        good "the same bytes the second time: ${file##*.}" cmp "$file" "$WORK/0.1.0/${file##*/}"
    done
}

# Below /usr in both.
FILES=(
    bin/heartsay lib/heartsay/after-install lib/sysusers.d/heartsay.conf lib/tmpfiles.d/heartsay.conf
    share/man/man1/heartsay.1.gz share/man/man1/heartsay-members.1.gz share/man/man5/heartsay.toml.5.gz
    share/bash-completion/completions/heartsay share/fish/vendor_completions.d/heartsay.fish
)

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
    installs_without_systemd
    waits_for_its_settings
    starts_with_settings
    is_upgraded_without_an_alarm
    keeps_the_old_one_if_the_new_one_would_not_start
    is_upgraded_also_when_its_unit_names_the_cluster
    starts_nothing_that_was_stopped
    keeps_its_state_when_removed
    leaves_nothing_when_purged
    DONE=1
}

# As in a chroot in which an image is made.
installs_without_systemd() {
    cat >/tmp/bare <<'END'
mount -t tmpfs none /run
mount -t tmpfs none /proc
mount --bind /dev/null /usr/bin/systemd-sysusers
dpkg --install /src/heartsay_0.1.0_*.deb
END
    good "it installs without systemd and /proc" unshare --mount sh -e /tmp/bare
    good "it runs" heartsay version
    good "there is a user" test "$(getent passwd heartsay | cut -d: -f6-)" = /var/lib/heartsay:/usr/sbin/nologin
    good "and a place for settings" test -d /etc/heartsay/conf.d
    good "it is purged" dpkg --purge heartsay
    userdel heartsay
}

waits_for_its_settings() {
    good "it installs" install_version 0.1.0
    good "it runs" heartsay version
    good "there is a user" getent passwd heartsay
    good "and a place for settings" test -d /etc/heartsay/conf.d
    good "the agent is enabled" systemctl is-enabled --quiet heartsay
    good "but has no settings, and is not started" state_is inactive
    systemctl start heartsay
    good "a start without settings is skipped" state_is inactive
    good "and is no failure" test "$(systemctl show -P Result heartsay)" = success
}

starts_with_settings() {
    settings
    systemctl start heartsay
    good "it starts with settings" state_is active
    # It outlives the package.
    cp /usr/bin/heartsay /tmp/other
    systemd-run --quiet --unit=watcher /tmp/other agent --config /dev/null --cluster packages --name watcher \
        --bind 10.77.0.62:4327 --seed 10.77.0.61 --state-dir /tmp/watcher --socket /run/watcher.sock
    soon "it finds another" heartsay wait --for joined --for 'alive==2' --timeout 1s
}

is_upgraded_without_an_alarm() {
    local identity before
    identity=$(cat /var/lib/heartsay/identity)
    before=$(systemctl show -P MainPID heartsay)
    timeout 60 heartsay --socket /run/watcher.sock watch -o jsonl >/tmp/events &
    local watch=$!
    soon "the stream has a reader" test -s /tmp/events
    good "it is upgraded" install_version 0.2.0
    good "to the new version" test "$(dpkg-query -W -f '${Version}' heartsay)" = 0.2.0
    good "the agent runs" state_is active
    good "in a new life" fails test "$(systemctl show -P MainPID heartsay)" = "$before"
    good "of the same host" test "$(cat /var/lib/heartsay/identity)" = "$identity"
    soon "the watcher sees the restart" grep -q '"member-restart"' /tmp/events
    good "needrestart restarts it" /etc/needrestart/restart.d/heartsay.service
    soon "which is a second restart" restarts_seen 2
    good "and nothing else" fails grep -E '"member-(left|suspect|down|join)"' /tmp/events
    kill "$watch" 2>/dev/null || true
}

keeps_the_old_one_if_the_new_one_would_not_start() {
    local before
    before=$(systemctl show -P MainPID heartsay)
    settings 'acceptable_puase = "3s"'
    install_version 0.1.0 >/tmp/said 2>&1
    good "settings that the new one refuses are told" grep -q acceptable_pause /tmp/said
    good "and the old one goes on" test "$(systemctl show -P MainPID heartsay)" = "$before"
    settings
}

is_upgraded_also_when_its_unit_names_the_cluster() {
    local before
    mkdir -p /etc/systemd/system/heartsay.service.d
    printf '%s\n' '[Service]' 'Environment="HEARTSAY_CLUSTER=packages"' >/etc/systemd/system/heartsay.service.d/cluster.conf
    sed -i /cluster/d /etc/heartsay/heartsay.toml
    systemctl daemon-reload
    systemctl restart heartsay
    before=$(systemctl show -P MainPID heartsay)
    good "it is upgraded also when its unit names the cluster" install_version 0.2.0
    good "in a new life" fails test "$(systemctl show -P MainPID heartsay)" = "$before"
    rm -r /etc/systemd/system/heartsay.service.d
    systemctl daemon-reload
    settings
}

starts_nothing_that_was_stopped() {
    systemctl stop heartsay
    install_version 0.1.0 >/dev/null 2>&1
    good "an upgrade starts nothing that was stopped" state_is inactive
}

keeps_its_state_when_removed() {
    systemctl start heartsay
    local identity before
    identity=$(cat /var/lib/heartsay/identity)
    before=$(systemctl show -P MainPID heartsay)
    good "it is removed" dpkg --remove heartsay
    good "which stops the agent" fails test -e "/proc/$before"
    soon "with a good-bye" watcher_sees left
    good "settings stay" test -e /etc/heartsay/heartsay.toml
    good "state stays" test "$(cat /var/lib/heartsay/identity)" = "$identity"
    good "it comes back" install_version 0.2.0
    soon "by itself" state_is active
    good "as the same host" test "$(cat /var/lib/heartsay/identity)" = "$identity"
    soon "the others see it again" watcher_sees alive
}

leaves_nothing_when_purged() {
    good "it is purged" dpkg --purge heartsay
    systemctl stop watcher && rm -f /run/watcher.sock
    local left
    left=$(find / /run -xdev \( -path /proc -o -path /sys -o -path /src -o -path /tmp -o -path /var/log -o -path /run/systemd \) -prune -o -iname '*heartsay*' -print)
    good "nothing is left${left:+ ($left)}" test -z "$left"
    good "but the user, whose number no other is to get" getent passwd heartsay
}

# --- Words --------------------------------------------------------------------

install_version() {
    DEBIAN_FRONTEND=noninteractive dpkg --install /src/heartsay_"$1"_*.deb
}

settings() {
    printf '%s\n' 'cluster = "packages"' 'name = "here"' 'bind = "10.77.0.61:4327"' 'seeds = ["10.77.0.62"]' "$@" \
        >/etc/heartsay/heartsay.toml
}

restarts_seen() { [[ $(grep -c '"member-restart"' /tmp/events) == "$1" ]]; }

watcher_sees() {
    /tmp/other --socket /run/watcher.sock members --status "$1" --columns name --no-headers | grep -qx here
}

state_is() { [[ $(systemctl show -P ActiveState heartsay) == "$1" ]]; }

main "$@"

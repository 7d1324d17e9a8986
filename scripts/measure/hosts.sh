# shellcheck shell=bash
# Several Debian hosts, each with a real systemd in systemd-nspawn and in a network namespace of its own, joined by a bridge; for
# the scripts beside this one, which read it in. They set WHAT, what is looked at, and have put the packages of heartsay into
# $WORK/src, which the hosts have as /src.
#
# The root of all hosts is made once: by debootstrap, as that of scripts/ci/unit.sh, with the programs of the distribution that
# read exports. What a host writes lies over it and goes with it. FRESH=1 has it made anew.

# shellcheck source=scripts/ci/container.sh
. "$(dirname "${BASH_SOURCE[0]}")/../ci/container.sh"

PROGRAMS=(nginx haproxy prometheus bind9-dnsutils systemd-resolved)
FULL=$ROOT-reach
# Of namespaces and of the control groups.
OURS=hsr$$
declare -a LEADERS=() NSPAWNS=()
BAD=0

need_tools() {
    needs
    local tool
    for tool in ip mount python3 chroot dpkg-deb; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
    [[ $(groups_of x) ]] || skip "there are no control groups below /sys/fs/cgroup"
}

make_full_root() {
    if [[ -n ${FRESH:-} ]]; then
        rm -rf "$ROOT" "$FULL"
    fi
    [[ -x $FULL/usr/bin/prometheus ]] && return
    make_root
    echo "installing ${PROGRAMS[*]} in $FULL"
    rm -rf "$FULL.part"
    cp -a "$ROOT" "$FULL.part"
    # Nothing starts while it is installed.
    printf '#!/bin/sh\nexit 101\n' >"$FULL.part/usr/sbin/policy-rc.d"
    chmod 755 "$FULL.part/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$FULL.part/etc/resolv.conf"
    if ! chroot "$FULL.part" env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@"' sh "${PROGRAMS[@]}" >"$FULL.log" 2>&1; then
        tail -3 "$FULL.log" >&2
        skip "the programs cannot be installed, see $FULL.log"
    fi
    rm "$FULL.part/usr/sbin/policy-rc.d"
    # Each host starts those that it uses.
    rm -f "$FULL.part"/etc/systemd/system/multi-user.target.wants/{nginx,haproxy,prometheus}.service
    mv "$FULL.part" "$FULL"
}

# --- Hosts --------------------------------------------------------------------

make_bridge() {
    ip netns add "$OURS"
    ip -n "$OURS" link add bridge type bridge
    ip -n "$OURS" link set bridge up
}

# Host number $1, called $2. It boots; see await_hosts.
add_host() {
    local number=$1 name=$2 here=$WORK/$1 space=$OURS-$1 group
    ip netns add "$space"
    ip -n "$OURS" link add "port$number" type veth peer name eth0 netns "$space"
    ip -n "$OURS" link set "port$number" master bridge up
    ip -n "$space" link set lo up
    ip -n "$space" link set eth0 up
    ip -n "$space" address add "$(address "$number")/24" dev eth0
    mkdir -p "$here"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$FULL,upperdir=$here/upper,workdir=$here/work" "$here/root"
    echo "$name" >"$here/root/etc/hostname"
    (
        # Without one of its own it would share that of this script with the other hosts.
        for group in $(groups_of "$space"); do
            mkdir "$group"
            echo "$BASHPID" >"$group/cgroup.procs"
        done
        exec systemd-nspawn --quiet --directory="$here/root" --boot --register=no --keep-unit \
            --network-namespace-path="/run/netns/$space" --bind-ro="$WORK/src:/src" --machine="$name"
    ) </dev/null >"$here/console" 2>&1 &
    NSPAWNS[number]=$!
}

# Until systemd has started all in each of them.
await_hosts() {
    local number i state
    for number in "${!NSPAWNS[@]}"; do
        state=
        for ((i = 0; i < 240; i++)); do
            [[ -d /proc/${NSPAWNS[number]} ]] || no_boot "$number" "it ended"
            read -r "LEADERS[number]" _ 2>/dev/null <"/proc/${NSPAWNS[number]}/task/${NSPAWNS[number]}/children" || true
            if [[ -n ${LEADERS[number]:-} ]]; then
                state=$(on "$number" systemctl is-system-running 2>/dev/null) || true
                [[ $state != running && $state != degraded ]] || break
            fi
            sleep 0.25
        done
        [[ $state == running || $state == degraded ]] || no_boot "$number" "it is ${state:-silent} after a minute"
    done
}

no_boot() {
    tail -n 5 "$WORK/$1/console" >&2
    if grep -q 'inotify\|watch file descriptor' "$WORK/$1/console"; then
        skip "this machine has no inotify instance left for another host: raise fs.inotify.max_user_instances"
    fi
    skip "systemd does not boot in systemd-nspawn: $2"
}

# The control groups of that name: of version 2, and of systemd where there are both versions.
groups_of() {
    local top
    for top in /sys/fs/cgroup{,/unified,/systemd}; do
        [[ ! -e $top/cgroup.procs ]] || echo "$top/$1"
    done
}

address() { echo "10.79.0.1$1"; }

# A command on host $1.
on() {
    local number=$1
    shift
    nsenter -t "${LEADERS[number]}" -m -u -i -n -p -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

# The file $2 of host $1, from standard input.
put() {
    local number=$1 path=$2
    on "$number" sh -c "mkdir -p \"\$(dirname $path)\" && cat >$path"
}

# scripts/measure/reach.py in the network of host $1, with its files.
reach() {
    local number=$1 verb=$2
    shift 2
    # shellcheck disable=SC2153 # of the script that reads this one in
    nsenter -t "${LEADERS[number]}" -n -- python3 "$HERE/reach.py" "$verb" --pid "${LEADERS[number]}" "$@"
}

# The cable of host $1: `down` takes it out, and the host sees that.
link() { ip -n "$OURS" link set "port$1" "$2"; }

# The switch forgets the port of host $1, which sees nothing of it; and knows it again.
silence() { ip -n "$OURS" link set "port$1" nomaster; }
unsilence() { ip -n "$OURS" link set "port$1" master bridge; }

# The package in /src whose name begins with $2, on host $1.
install_on() {
    on "$1" sh -c "DEBIAN_FRONTEND=noninteractive dpkg --install /src/$2*.deb" >>"$WORK/$1/dpkg" 2>&1 ||
        { cat "$WORK/$1/dpkg" >&2; fail "the package cannot be installed"; }
}

clean_up() {
    local number space group i
    for number in "${!NSPAWNS[@]}"; do
        kill -TERM "${NSPAWNS[number]}" 2>/dev/null || true
    done
    for number in "${!NSPAWNS[@]}"; do
        for ((i = 0; i < 40; i++)); do
            [[ -d /proc/${NSPAWNS[number]} ]] || break
            sleep 0.25
        done
        kill -KILL "${NSPAWNS[number]}" 2>/dev/null || true
        wait "${NSPAWNS[number]}" 2>/dev/null || true
    done
    for number in "${!NSPAWNS[@]}"; do
        space=$OURS-$number
        umount "$WORK/$number/root" 2>/dev/null || umount -l "$WORK/$number/root" 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
        for group in $(groups_of "$space"); do
            find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
        done
    done
    ip netns del "$OURS" 2>/dev/null || true
    rm -rf "${WORK:?}"
}

# --- Words --------------------------------------------------------------------

bad() {
    echo "BAD:  $1"
    BAD=$((BAD + 1))
}

# `within SECONDS WHAT COMMAND...`: until it succeeds.
within() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { bad "$what (not within $seconds s)"; "$@" || true; return 0; }
        sleep 0.2
    done
    echo "good: $what"
}

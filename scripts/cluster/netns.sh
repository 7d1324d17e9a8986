#!/usr/bin/env bash
# A cluster on a network of its own: every agent in a network namespace, all of
# them on one bridge, which can be cut like a switch whose cables are pulled.
# Needs root, iproute2 and nftables. Nothing outside the namespaces is touched.
#
#   scripts/cluster/netns.sh up 10 [FLAGS...]   network and agents that expect 10; FLAGS go to each
#   scripts/cluster/netns.sh status             what each agent sees
#   scripts/cluster/netns.sh cut 8,9,10         these talk to each other only, the rest too
#   scripts/cluster/netns.sh part 1 2           these two do not reach each other
#   scripts/cluster/netns.sh mute 1 2           what the first sends does not reach the second
#   scripts/cluster/netns.sh heal               undo all cuts
#   scripts/cluster/netns.sh down               stop and remove everything
#
#   scripts/cluster/netns.sh net 10             the network alone, without agents
#
# Namespaces are called $HEARTSAY_NETNS-1 ... (default heartsay-1 ...), member i has the
# address 10.77.0.i. Files are in $HEARTSAY_NETNS_DIR (default /tmp/$HEARTSAY_NETNS).
# Exit code 3: it cannot be done on this machine, and the message says why.
set -euo pipefail

PREFIX=${HEARTSAY_NETNS:-heartsay}
DIR=${HEARTSAY_NETNS_DIR:-/tmp/$PREFIX}
HUB=$PREFIX-hub
PORT=4327
MOST=250

main() {
    local verb=${1:-}
    case $verb in
        up | net | cut | part | mute | heal | status | down)
            shift
            require_tools
            "do_$verb" "$@"
            ;;
        -h | --help | help) usage ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
}

do_net() {
    local count=${1:-} i
    if [[ ! $count =~ ^[0-9]+$ ]] || ((count < 1 || count > MOST)); then
        fail "how many members? 1 to $MOST"
    fi
    require_right
    if ip netns list | grep -q "^$HUB\b"; then
        fail "$HUB is there already; take it away with: $0 down"
    fi
    ip netns add "$HUB"
    # No neighbour discovery and no spanning tree: a port forwards at once.
    ip -n "$HUB" -batch - <<<"link add bridge type bridge stp_state 0 forward_delay 0
link set bridge up"
    ip netns exec "$HUB" nft -f - <<<'table bridge cuts {
    chain forward { type filter hook forward priority 0
    }
}'
    for ((i = 1; i <= count; i++)); do
        ip netns add "$PREFIX-$i"
        ip -n "$HUB" -batch - <<<"link add m$i type veth peer name eth0 netns $PREFIX-$i
link set m$i master bridge up"
        ip -n "$PREFIX-$i" -batch - <<<"link set lo up
addr add $(address "$i")/24 dev eth0
link set eth0 up"
    done
}

do_up() {
    local count=${1:-} i
    local heartsay
    heartsay=$(binary)
    do_net "$count"
    shift
    mkdir -p "$DIR"
    for ((i = 1; i <= count; i++)); do
        ip netns exec "$PREFIX-$i" "$heartsay" agent --cluster "$PREFIX" --name "m$i" \
            --bind "$(address "$i"):$PORT" --seed "$(address 1):$PORT" --seed "$(address "$count"):$PORT" \
            --state-dir "$DIR/$i" --socket "$DIR/$i.sock" --expected "$count" "$@" \
            >"$DIR/$i.log" 2>&1 </dev/null &
        # ip becomes the agent: same process id.
        echo $! >"$DIR/$i.pid"
    done
    echo "$count agents; ask one: $heartsay --socket $DIR/1.sock members"
}

do_cut() {
    local ports
    [[ ${1:-} =~ ^[0-9]+(,[0-9]+)*$ ]] || fail "cut whom? for example: $0 cut 8,9,10"
    ports="m${1//,/, m}"
    ip netns exec "$HUB" nft -f - <<<"
add rule bridge cuts forward iifname { $ports } oifname != { $ports } drop
add rule bridge cuts forward iifname != { $ports } oifname { $ports } drop"
}

do_part() {
    do_mute "$@"
    do_mute "${2:-}" "${1:-}"
}

do_mute() {
    [[ ${1:-} =~ ^[0-9]+$ && ${2:-} =~ ^[0-9]+$ ]] || fail "which two? for example: $0 part 1 2"
    # A filter, and not the cable: without answers of ARP the other direction would fail too, after some seconds.
    ip netns exec "$HUB" nft add rule bridge cuts forward iifname "m$1" oifname "m$2" ether type != arp drop
}

do_heal() {
    ip netns exec "$HUB" nft flush chain bridge cuts forward
}

do_status() {
    local heartsay file i
    heartsay=$(binary)
    while read -r file; do
        i=$(basename "$file" .pid)
        echo "m$i: $("$heartsay" --socket "$DIR/$i.sock" members -o jsonl 2>&1 | states)" \
            "$("$heartsay" --socket "$DIR/$i.sock" quorum 2>&1 | head -n 1)"
    done < <(find "$DIR" -maxdepth 1 -name "*.pid" 2>/dev/null | sort -V)
}

do_down() {
    local file namespace pid
    for file in "$DIR"/*.pid; do
        [[ -e $file ]] || continue
        pid=$(<"$file")
        # Only what is still our agent: process ids are used again.
        if grep -qz -- "$DIR" "/proc/$pid/cmdline" 2>/dev/null; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
        rm -f "$file"
    done
    for namespace in $(ip netns list | awk '{ print $1 }' | grep -E "^$PREFIX-([0-9]+|hub)$" || true); do
        ip netns delete "$namespace"
    done
    [[ ! -d $DIR ]] || rm -r "$DIR"
}

# "7 alive, 3 down" out of members, one JSON object per line.
states() {
    grep -oE '"status":"[a-z]+"' | cut -d '"' -f 4 | sort | uniq -c |
        awk '{ printf "%s%d %s", sep, $1, $2; sep = ", " }'
}

address() {
    echo "10.77.0.$1"
}

binary() {
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    local heartsay=${HEARTSAY_BIN:-$root/target/release/heartsay}
    [[ -x $heartsay ]] || fail "no $heartsay; build it with: cargo build --release"
    echo "$heartsay"
}

require_tools() {
    local tool
    [[ $EUID -eq 0 ]] || cannot "network namespaces need root"
    for tool in ip nft; do
        command -v "$tool" >/dev/null || cannot "$tool is missing; install iproute2 and nftables"
    done
}

# Root in a container may still not be allowed to, and a kernel may lack the filter.
require_right() {
    local probe=$PREFIX-probe said
    said=$({ ip netns add "$probe" && ip netns exec "$probe" nft add table bridge probe; } 2>&1) ||
        cannot "no namespaces with bridge filters here: $said"
    ip netns delete "$probe"
}

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

fail() {
    echo "netns.sh: $*" >&2
    exit 1
}

# Nothing is wrong, but it cannot be done on this machine.
cannot() {
    ip netns delete "$PREFIX-probe" 2>/dev/null || true
    echo "netns.sh: $*" >&2
    exit 3
}

main "$@"

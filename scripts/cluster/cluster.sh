#!/usr/bin/env bash
# A cluster of real agents on this machine's loopback addresses, without root.
# Runs until Ctrl-C, then stops them all and removes what they wrote.
#
#   scripts/cluster/cluster.sh 32                       32 agents
#   scripts/cluster/cluster.sh 8 --interval 500ms       flags after the number go to every agent
#
# For a story about a cluster rather than a cluster: heartsay dev
set -euo pipefail

PORT=4327
MOST=254

main() {
    local count=${1:-} i root heartsay
    case $count in
        -h | --help | help) usage && exit 0 ;;
    esac
    if [[ ! $count =~ ^[0-9]+$ ]] || ((count < 1 || count > MOST)); then
        usage >&2
        exit 2
    fi
    shift
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    heartsay=${HEARTSAY_BIN:-$root/target/release/heartsay}
    if [[ ! -x $heartsay ]]; then
        echo "cluster.sh: no $heartsay; build it with: cargo build --release" >&2
        exit 1
    fi

    dir=$(mktemp -d "${TMPDIR:-/tmp}/heartsay-cluster-XXXXXX")
    pids=()
    trap stop EXIT
    # Each cluster has its own addresses, so that several can run side by side.
    net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250))
    for ((i = 1; i <= count; i++)); do
        "$heartsay" agent --cluster "cluster-$net" --name "m$i" --bind "$net.$i:$PORT" \
            --seed "$net.1:$PORT" --seed "$net.$count:$PORT" --profile local \
            --state-dir "$dir/$i" --socket "$dir/$i.sock" "$@" >"$dir/$i.log" 2>&1 </dev/null &
        pids+=($!)
    done
    if ! "$heartsay" --socket "$dir/1.sock" wait --for "alive>=$count" --timeout 30s; then
        echo "cluster.sh: the cluster did not form; the log of m1:" >&2
        tail -n 20 "$dir/1.log" >&2
        exit 1
    fi

    cat <<END

$count agents at $net.1:$PORT ...; member i is called m\$i. Try:

  export HEARTSAY_SOCKET=$dir/1.sock
  $heartsay members
  $heartsay watch
  kill -KILL ${pids[count - 1]}      # m$count

Sockets: $dir/*.sock   Logs: $dir/*.log
Ctrl-C stops them all.
END
    # A member that is killed by hand does not end the cluster.
    wait "${pids[@]}" || true
    echo "all agents have ended"
}

stop() {
    trap '' INT TERM
    # No good-byes: no member stays to hear them.
    {
        ((${#pids[@]} == 0)) || kill -KILL "${pids[@]}" || true
        wait || true
    } 2>/dev/null
    rm -r "$dir"
}

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

trap 'exit 130' INT TERM
main "$@"

#!/bin/sh
# Keeps an address on one member: the first by name of those that are there, alive or suspect. Run it on each of them, as root, under
# `heartsay exec --while-quorum --restart`, which stops it on the side without a majority.
#
#   virtual-ip.sh ADDRESS/BITS INTERFACE [KEY=VALUE]     among the members that have this tag
#
# The kernel gets the address for two seconds at a time, so it is gone soon after this script, however that ends. A
# member takes it only when it has been the first for longer than that.
set -eu

me=${HEARTSAY_SELF:-$(hostname)}
address=$1 interface=$2 tag=${3:-}
lifetime=2
# Looks, a quarter of a second apart, before it takes the address.
patience=10

main() {
    trap 'drop; exit 0' TERM INT
    drop
    firsts=0
    while :; do
        if is_first; then
            firsts=$((firsts + 1))
            if [ "$firsts" -ge "$patience" ]; then
                hold
            fi
        else
            [ "$firsts" -lt "$patience" ] || drop
            firsts=0
        fi
        sleep 0.25 &
        wait $!
    done
}

# A suspect may still have the address.
is_first() {
    first=$(heartsay members --status alive --status suspect ${tag:+--tag "$tag"} --columns name --no-headers 2>/dev/null |
        LC_ALL=C sort | head -n 1)
    [ "$first" = "$me" ]
}

hold() {
    ip address replace "$address" dev "$interface" valid_lft "$lifetime" preferred_lft "$lifetime"
    # Neighbours learn at once who has it now; without arping (of iputils) when they ask again.
    if [ "$firsts" = "$patience" ] && command -v arping >/dev/null; then
        arping -q -c 1 -U -I "$interface" "${address%/*}" || true
    fi
}

drop() {
    ip address del "$address" dev "$interface" 2>/dev/null || true
}

main

#!/bin/sh
# 0 on one member alone: the first by name of those that are alive, while its side holds quorum; else 4. For hooks and cron.
#
#   one-member.sh [KEY=VALUE]     of those that have this tag
set -eu

# A hook knows its member. Elsewhere it is called as its host, unless the agent's settings say otherwise.
me=${HEARTSAY_SELF:-$(hostname)}

heartsay quorum >/dev/null
first=$(heartsay members --status alive ${1:+--tag "$1"} --columns name --no-headers 2>/dev/null | LC_ALL=C sort | head -n 1)
[ "$first" = "$me" ] || exit 4

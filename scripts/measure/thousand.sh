#!/usr/bin/env bash
# A thousand real agents on this machine, without root: how soon they all see one another, what
# they cost at rest, how soon a crash is known to all. Stops them all at the end, also on Ctrl-C.
#
#   scripts/measure/thousand.sh                      1,000 agents; wants some 5 GiB of free memory
#   scripts/measure/thousand.sh --agents 100,300     smaller ones first
#
# It is experiment R7 of measure-real.py, whose other flags are understood too.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/measure-real.py" --only R7 "$@"

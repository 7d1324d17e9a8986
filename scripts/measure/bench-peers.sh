#!/usr/bin/env bash
# heartsay and serf side by side, on this machine and in one run: formation, a killed process, a silent
# host, bytes, CPU and memory at rest. serf is that of the distribution (`apt install serf`).
#
#   cargo build --release && sudo scripts/measure/bench-peers.sh                 sixteen agents each, four minutes
#   sudo scripts/measure/bench-peers.sh --agents 32 --json > peers.json
#
# What drops and counts packets needs root, iproute2 and nftables; without them those rows are left out.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/bench-peers.py" "$@"

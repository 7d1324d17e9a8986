#!/usr/bin/env bash
# docs/openapi.yaml against a live agent, by schemathesis: whatever the document allows is answered as it says, whatever it does not is
# refused. Needs python3 with venv, and the network once to install schemathesis; says so and passes where it cannot have them.
#
#   scripts/ci/openapi.sh [target/debug/heartsay]
#
# VENV=DIR keeps the environment of Python there for the next run; EXAMPLES (default 40) are drawn for each operation, from SEED (1).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

SCHEMATHESIS=4.32.5
HEARTSAY=${1:-${CARGO_TARGET_DIR:-target}/debug/heartsay}
WORK=$(mktemp -d)
PIDS=()

main() {
    trap clean_up EXIT
    [[ -x $HEARTSAY ]] || { echo "$HEARTSAY is not there; cargo build -p heartsay" >&2 && exit 1; }
    local venv=${VENV:-$WORK/venv}
    if [[ ! -x $venv/bin/st ]]; then
        { python3 -m venv "$venv" && "$venv/bin/pip" install -q "schemathesis==$SCHEMATHESIS"; } ||
            { echo "SKIPPED: schemathesis cannot be installed; docs/openapi.yaml is checked by agent/tests/openapi.rs alone" && exit 0; }
    fi
    agent one 127.83.1.1:4327 --http-listen 127.83.1.1:4380
    agent two 127.83.1.2:4327 --seed 127.83.1.1 --tag role=web --zone z1
    python3 -c "$BRIDGE" "$WORK/one.sock" 127.83.1.3 4380 &
    PIDS+=($!)
    soon answers 127.83.1.1:4380
    soon answers 127.83.1.3:4380

    DOCUMENT=$PWD/docs/openapi.yaml VENV_ST=$(realpath "$venv/bin/st")
    cd "$WORK"
    echo "=== over TCP: reads, and changes that are refused"
    # The stream has no end, and a client that waits for one waits long; agent/tests/openapi.rs reads it.
    check http://127.83.1.1:4380 --exclude-path /v1/watch
    echo "=== over the socket: changes"
    # Those that stop the agent, or look names up in the DNS, are in agent/tests/openapi.rs.
    # Limits in bytes, and over all tags, no schema can say: so what it allows may be refused.
    check http://127.83.1.3:4380 --exclude-checks positive_data_acceptance --include-path /v1/beat --include-path /v1/forget --include-path /v1/testify --include-path /v1/reload --include-path /v1/tags
    answers 127.83.1.1:4380
}

check() {
    local url=$1
    shift
    "$VENV_ST" run "$DOCUMENT" --url "$url" --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-40}" --seed "${SEED:-1}" \
        --request-timeout 15 --warnings off --continue-on-failure --checks all "$@"
}

agent() {
    local name=$1 bind=$2
    shift 2
    "$HEARTSAY" agent --cluster openapi --name "$name" --bind "$bind" --state-dir "$WORK/$name" --socket "$WORK/$name.sock" \
        --beat-within 10m "$@" 2>"$WORK/$name.log" &
    PIDS+=($!)
}

answers() {
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(f"http://{sys.argv[1]}/livez", timeout=2)' "$1" 2>/dev/null
}

soon() {
    for _ in {1..100}; do
        "$@" && return
        sleep 0.1
    done
    echo "in vain: $*" >&2
    cat "$WORK"/*.log >&2
    exit 1
}

clean_up() {
    ((${#PIDS[@]} == 0)) || kill "${PIDS[@]}" 2>/dev/null || true
    wait
    rm -rf "$WORK"
}

# The socket, as a port that schemathesis can speak to.
BRIDGE='
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def pass_on(reader, writer):
    inner_reader, inner_writer = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

async def main():
    async with await asyncio.start_server(pass_on, sys.argv[2], int(sys.argv[3])) as server:
        await server.serve_forever()

asyncio.run(main())
'

main "$@"

#!/usr/bin/env bash
# Instructions of two commits side by side. Counts, not times: they are the same on a busy machine.
#
#   scripts/measure/bench-compare.sh main            main against what is committed here
#   scripts/measure/bench-compare.sh BASE HEAD       two commits
#   MEMBERS=1000 scripts/measure/bench-compare.sh main
#
# Each commit records what a member of a quiet cluster (300 by default) is handed from its start on,
# and lives through it once more under valgrind (membership/examples/rounds.rs, the newer one for
# both; it builds on commits from eefcd7fd on). Counted are instructions per input of a kind, the join as a whole.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Functions of the example, one for each row.
ROWS=(live_join live_syn live_ack live_round live_other ages_encode ages_decode)
HARNESS=(membership/examples/rounds.rs membership/benches membership/testkit membership/Cargo.toml)

main() {
    local base=${1:?usage: bench-compare.sh BASE [HEAD]} head=${2:-HEAD}
    if ! command -v valgrind >/dev/null; then
        echo "SKIPPED: valgrind is not installed"
        return
    fi
    ROOM=$PWD/target/compare
    clean
    mkdir -p "$ROOM"
    trap clean EXIT
    local members=${MEMBERS:-300}
    count base "$base" "$head" "$members"
    count head "$head" "$head" "$members"
    # Cargo takes what was built of one tree for fresh in another; a table of equals would be a lie.
    if cmp -s "$ROOM/base.rounds" "$ROOM/head.rounds" &&
        ! git diff --quiet "$base" "$head" -- proto/src detector/src membership/src; then
        echo "bench-compare.sh: the sources differ and the binaries do not; nothing was measured" >&2
        exit 1
    fi
    echo
    echo "$members members; instructions per input (join: all of it)"
    echo
    echo "| what | $(git rev-parse --short "$base") | $(git rev-parse --short "$head") | change |"
    echo "|---|---:|---:|---:|"
    local row
    for row in "${ROWS[@]}"; do
        awk -v row="$row" '
            $1 == row { counts[FILENAME] = $2 }
            END {
                base = counts[ARGV[1]]; head = counts[ARGV[2]]
                if (base > 0 && head > 0)
                    printf "| %s | %d | %d | %+.1f %% |\n", row, base, head, (head / base - 1) * 100
            }' "$ROOM/base.counts" "$ROOM/head.counts"
    done
}

# Counts of one commit, as lines "function instructions".
count() {
    local side=$1 commit=$2 newest=$3 members=$4 tree=$ROOM/tree
    echo "$side: $(git log -1 --format='%h %s' "$commit")" >&2
    # One tree for both, and objects apart from those of the daily work: a file that the second
    # commit changes is newer then than what was built of the first.
    if [[ -d $tree ]]; then
        git -C "$tree" checkout --quiet --force --detach "$(git rev-parse "$commit")"
    else
        git worktree add --quiet --detach "$tree" "$commit"
    fi
    git -C "$tree" checkout --quiet "$(git rev-parse "$newest")" -- "${HARNESS[@]}"
    local rounds=$ROOM/$side.rounds
    (cd "$tree" && CARGO_TARGET_DIR=$ROOM/build cargo build --quiet --release \
        -p heartsay-membership --example rounds)
    cp "$ROOM/build/release/examples/rounds" "$rounds"
    "$rounds" record "$members" "$ROOM/$side.inputs"
    valgrind --tool=callgrind --callgrind-out-file="$ROOM/$side.profile" \
        "$rounds" replay "$ROOM/$side.inputs" >"$ROOM/$side.table" 2>/dev/null
    callgrind_annotate --threshold=100 --inclusive=yes --auto=no "$ROOM/$side.profile" \
        >"$ROOM/$side.functions" 2>/dev/null
    local row inputs instructions
    for row in "${ROWS[@]}"; do
        instructions=$(awk -v row=":rounds::$row " '
            index($0, row) && !found++ { gsub(",", "", $1); print $1 }' "$ROOM/$side.functions")
        inputs=$(awk -F'|' -v row="$row" '
            { kind = tolower($2); gsub(" ", "", kind) }
            row == "live_other" && (kind == "other" || kind == "timer") { n += $3 }
            row == "live_" kind && kind != "join" && row != "live_other" { n += $3 }
            END { print (n > 0 ? n : 1) }' "$ROOM/$side.table")
        echo "$row $((${instructions:-0} / inputs))"
    done >"$ROOM/$side.counts"
}

# All but the objects, so that dependencies are built once.
clean() {
    git worktree remove --force "$ROOM/tree" 2>/dev/null || true
    rm -rf "$ROOM"/{tree,base.*,head.*}
}

main "$@"

#!/usr/bin/env bash
# Fuzzes what a peer can send. Needs a C++ compiler and crates.io, and neither nightly nor cargo-fuzz
# (with which `cargo fuzz run` in proto and membership does the same).
#
#   scripts/ci/fuzz.sh                 a minute of each target
#   scripts/ci/fuzz.sh node 600        ten minutes of one
#   scripts/ci/fuzz.sh node FILE       one finding again
#
# An execution of node is a life of many inputs; how many were handled is said every million.
#
# Targets: decode (datagrams and packets), ages (the digest coder), node (a member that is handed
# anything in any order). Corpora and findings are kept in target/fuzz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

declare -A CRATE=([decode]=proto [ages]=proto [node]=membership)
# What cargo-fuzz passes, less the address sanitizer: the crates deny unsafe code.
COVERAGE="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1"

main() {
    local target=${1:-all} what=${2:-60}
    if [[ $target == all ]]; then
        for target in decode ages node; do
            fuzz "$target" "$what"
        done
    elif [[ -v "CRATE[$target]" ]]; then
        fuzz "$target" "$what"
    else
        echo "fuzz.sh: no target is called $target; there are: ${!CRATE[*]}" >&2
        exit 2
    fi
}

fuzz() {
    local target=$1 what=$2 home=$PWD/target/fuzz host
    host=$(rustc -vV | sed -n 's/^host: //p')
    mkdir -p "$home/corpus/$target" "$home/findings"
    # With --target, so that build scripts stay as they are.
    (cd "${CRATE[$target]}/fuzz" &&
        RUSTFLAGS=$(tr '\n' ' ' <<<"$COVERAGE") cargo build --quiet --release --bin "$target" \
            --target "$host" --target-dir "$home/build")
    local binary=$home/build/$host/release/$target
    if [[ -f $what ]]; then
        exec "$binary" "$what"
    fi
    echo "=== $target, $what s"
    nice -n 10 "$binary" "$home/corpus/$target" -max_total_time="$what" -max_len=4096 -len_control=20 \
        -artifact_prefix="$home/findings/$target-" -print_final_stats=1 2>&1 |
        grep --line-buffered -E '^(handled|stat::|Done|SUMMARY|thread|artifact_prefix|Test unit|.*panicked)|assertion|DONE'
}

main "$@"

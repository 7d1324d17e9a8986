#!/usr/bin/env bash
# All that CI does, in the order in which mistakes are cheapest to find.
#
#   scripts/check.sh            everything
#   scripts/check.sh lint       a few of them: scripts format deps purity rooms lint alone docs test smoke page scenarios
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PURE=(heartsay-proto heartsay-detector heartsay-membership)
SKIPPED=()
STEPS=(scripts format deps purity rooms lint alone docs test smoke page scenarios)
# What would let a clock, a socket, a thread or the host's entropy into a pure crate.
FORBIDDEN='tokio|mio|async-[a-z-]+|futures-[a-z]+|socket2|nix|rustix|getrandom|fastrand'
FORBIDDEN+='|chrono|time|jiff|quanta|web-time|rayon|crossbeam-[a-z]+|parking-lot|tempfile'
FORBIDDEN_STD='std::(fs|thread|process|env|net::(Udp|Tcp|ToSocket)|os::|time::(Instant|SystemTime))'

main() {
    local step
    [[ $# -gt 0 ]] || set -- "${STEPS[@]}"
    for step in "$@"; do
        if ! declare -F "check_$step" >/dev/null; then
            echo "check.sh: no step is called $step; there are: ${STEPS[*]}" >&2
            exit 2
        fi
    done
    for step in "$@"; do
        local began=$SECONDS
        echo "=== $step"
        "check_$step"
        echo "=== $step: good, $((SECONDS - began)) s"
    done
    if [[ ${#SKIPPED[@]} -gt 0 ]]; then
        echo "=== not looked at:"
        printf 'SKIPPED %s\n' "${SKIPPED[@]}"
    fi
    echo "=== all good, $SECONDS s"
}

# Told at once, and again at the end, where it is seen.
skipped() {
    echo "SKIPPED $1"
    SKIPPED+=("$1")
}

check_scripts() {
    local script missing=0
    for script in scripts/*.sh scripts/*/*.sh .ci/run; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        shellcheck scripts/*.sh scripts/*/*.sh .ci/run
    else
        skipped "shellcheck is not installed"
    fi
    if command -v python3 >/dev/null; then
        python3 -c 'import ast, sys; [ast.parse(open(each).read(), each) for each in sys.argv[1:]]' scripts/*/*.py
    else
        skipped "python3 is not installed"
    fi
    # Pages and comments name no script that is not there.
    while read -r script; do
        [[ -e $script ]] || { echo "$script is named and is not there:" && missing=1 && git grep -nF "$script"; }
    done < <(git grep -ohE 'scripts/[a-z/-]+\.(sh|py)' | sort -u)
    return "$missing"
}

check_format() {
    cargo fmt --all --check
}

# Licences, sources and banned crates: deny.toml.
check_deps() {
    if command -v cargo-deny >/dev/null; then
        cargo deny check licenses bans sources
    else
        skipped "cargo-deny is not installed"
    fi
    check_tokio
}

# The ban of tokio by itself, which needs no cargo-deny: who depends on it directly, against the list in deny.toml.
check_tokio() {
    local allowed tree found
    allowed=$(grep 'name = "tokio"' deny.toml | grep -oE '\[.*\]' | tr -d '[]" ' | tr , '|')
    tree=$(cargo tree --locked --workspace -i tokio --depth 1 --prefix none -f '{p}')
    found=$(awk 'NR > 1 { print $1 }' <<<"$tree" | sort -u | grep -vxE "$allowed" || true)
    if [[ -n $found ]]; then
        echo "deny.toml lets none of these depend on tokio:" "${found//$'\n'/ }" >&2
        return 1
    fi
    echo "tokio: only where deny.toml allows it"
}

# The pure crates have no way to ask for the time, the network or chance.
check_purity() {
    local crate tree found
    for crate in "${PURE[@]}"; do
        tree=$(cargo tree --locked -p "$crate" -e normal --prefix none -f '{lib}')
        found=$(sort -u <<<"$tree" | tr _ - | grep -xE "$FORBIDDEN" || true)
        if [[ -n $found ]]; then
            echo "$crate must not depend on:" "${found//$'\n'/ }" >&2
            return 1
        fi
        # Outside of comments.
        if grep -rnE "$FORBIDDEN_STD" "${crate#heartsay-}/src" | grep -vE '^[^:]+:[0-9]+: *//'; then
            echo "$crate must not use these" >&2
            return 1
        fi
        echo "$crate: pure"
    done
}

# The parts of the membership crate know only what lies below them, so that there is no circle of imports and each can be
# built alone; `node` alone knows all.
check_rooms() {
    local room found below=''
    for room in roster core transport gossip detection quorum questions; do
        # gossip, detection, quorum and questions stand side by side.
        case $room in
            roster) below=roster ;;
            core) below='roster|core' ;;
            transport) below='roster|core|transport' ;;
            *) below="roster|core|transport|$room" ;;
        esac
        # Of a group, `use crate::{a, b}`, this would not see the parts.
        if grep -rnF 'crate::{' "membership/src/$room"; then
            echo "membership/src/$room: each part needs a use of its own" >&2
            return 1
        fi
        found=$(grep -rnoE '(crate|super)::(roster|core|transport|gossip|detection|quorum|questions|node)\b' "membership/src/$room" |
            grep -vE "(crate|super)::($below)$" || true)
        if [[ -n $found ]]; then
            echo "membership/src/$room may use: ${below//|/, }; it uses:" "$found" >&2
            return 1
        fi
    done
    echo "membership: no part imports one beside or above it"
}

check_lint() {
    cargo clippy --locked --workspace --all-targets -- -D warnings
    # What the default build does not have.
    cargo clippy --locked -p heartsay --features kubernetes --bins --test kubernetes_taint -- -D warnings
}

# Each pure crate by itself, so that it leans on no feature that another one turned on.
check_alone() {
    local crate
    for crate in "${PURE[@]}"; do
        cargo clippy --locked -p "$crate" -- -D warnings
    done
}

check_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
}

check_test() {
    local said line
    said=$(mktemp)
    # A test that this machine does not allow says so on standard error (agent/tests/skipped).
    { cargo test --workspace 2>&1 >&3 | tee "$said" >&2; } 3>&1
    # What the default build does not have; of the workspace, so that dependencies keep their features and are not built anew.
    cargo test --workspace --features heartsay/kubernetes --bin heartsay --test kubernetes_taint --test readme
    while read -r line; do
        SKIPPED+=("$line")
    done < <(grep -aoP '\bSKIPPED \K.*' "$said" || true)
    rm "$said"
}

# The first command of a newcomer, with the binary that the tests have built.
check_smoke() {
    local heartsay=${CARGO_TARGET_DIR:-target}/debug/heartsay
    [[ -x $heartsay ]] || cargo build --locked
    "$heartsay" dev --once
}

# The page in a browser, with the binary that the tests have built.
check_page() {
    local heartsay=${CARGO_TARGET_DIR:-target}/debug/heartsay said
    if ! command -v python3 >/dev/null; then
        skipped "python3 is not installed: the page was not looked at"
        return
    fi
    [[ -x $heartsay ]] || cargo build --locked
    said=$(scripts/ci/page.py "$heartsay")
    if [[ $said == SKIPPED* ]]; then
        skipped "${said#SKIPPED }"
    else
        echo "$said"
    fi
}

# Every shipped scenario at full length, with one seed: its checks and limits.
check_scenarios() {
    # To optimize it as a whole takes longer than it saves.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo build --locked --release -p heartsay-simulator
    local sim=${CARGO_TARGET_DIR:-target}/release/heartsay-sim
    # shellcheck disable=SC2016 # the inner shell's
    "$sim" list | awk '{ print $1 }' | xargs -P "$(nproc)" -I{} \
        bash -c 'out=$("$0" run {} --seed 1 2>&1) && echo "{}: kept" || { echo "$out"; exit 1; }' "$sim"
}

main "$@"

# shellcheck shell=bash
# Debian with a real systemd in systemd-nspawn, for the scripts beside this one, which read it in. They set WHAT, what is
# looked at, and WORK, a folder of their own, where they need one before the container does.
#
# HEARTSAY_UNIT_ROOT: where the Debian root is kept for the next run (default: below TMPDIR). It is made by debootstrap from the
# mirror that apt uses here.

ROOT=${HEARTSAY_UNIT_ROOT:-${TMPDIR:-/tmp}/heartsay-unit-root}
# Of the whole run; the first one downloads some 60 MB besides.
LIMIT=280

# Runs this script in there, where the program and these folders of the project lie below /src.
run_in_container() {
    local heartsay=$1
    needs
    [[ -x $heartsay ]] || fail "$heartsay is not there; cargo build --release -p heartsay"
    make_root
    WORK=$(mktemp -d)
    trap clean_up EXIT
    install -D -m 755 "$heartsay" "$WORK/src/target/release/heartsay"
    install -D -m 755 -t "$WORK/src/scripts/ci" "scripts/ci/${0##*/}" scripts/ci/container.sh
    cp -r --parents "${@:2}" "$WORK/src/"
    boot
    run_inside
}

needs() {
    [[ $EUID -eq 0 ]] || skip "needs root"
    local tool
    for tool in systemd-nspawn debootstrap nsenter apt-get; do
        command -v "$tool" >/dev/null || skip "$tool is not installed"
    done
}

# This script, in there.
run_inside() {
    timeout "$LIMIT" nsenter -t "$LEADER" -m -u -i -n -p -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb bash "/src/scripts/ci/${0##*/}" inside
}

skip() {
    echo "SKIPPED: ${WHAT:?}: $1" >&2
    exit 0
}

fail() {
    echo "${0##*/}: $1" >&2
    exit 1
}

make_root() {
    [[ -x $ROOT/usr/lib/systemd/systemd ]] && return
    local codename mirror
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt's own variables
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        awk -v codename="$codename" '$2 == codename { print $1; exit }')
    [[ -n $mirror ]] || skip "apt knows no mirror for $codename"
    rm -rf "$ROOT.part"
    echo "making $ROOT"
    if ! debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2 \
        "$codename" "$ROOT.part" "$mirror" >"$ROOT.log" 2>&1; then
        tail -3 "$ROOT.log" >&2
        skip "debootstrap failed, see $ROOT.log"
    fi
    mv "$ROOT.part" "$ROOT"
}

# With the folder $WORK/src as /src. All that is written in there lies in a tmpfs and goes with it.
boot() {
    systemd-nspawn --quiet --directory="$ROOT" --volatile=overlay --boot --register=no --keep-unit \
        --private-network --bind-ro="$WORK/src:/src" --machine="heartsay-$$" </dev/null >"$WORK/console" 2>&1 &
    NSPAWN=$!
    local i state=
    LEADER=
    for ((i = 0; i < 120; i++)); do
        read -r LEADER _ 2>/dev/null <"/proc/$NSPAWN/task/$NSPAWN/children" || true
        [[ -d /proc/$NSPAWN ]] || { cat "$WORK/console" >&2; skip "systemd-nspawn cannot boot here"; }
        if [[ -n $LEADER ]]; then
            state=$(nsenter -t "$LEADER" -m -u -i -n -p -- systemctl is-system-running 2>/dev/null) || true
            [[ $state == running || $state == degraded ]] && return
        fi
        sleep 0.5
    done
    cat "$WORK/console" >&2
    skip "systemd does not come up in systemd-nspawn (${state:-silent})"
}

clean_up() {
    if [[ -n ${NSPAWN:-} ]]; then
        kill -TERM "$NSPAWN" 2>/dev/null || true
        for _ in {1..40}; do
            [[ -d /proc/$NSPAWN ]] || break
            sleep 0.25
        done
        kill -KILL "$NSPAWN" 2>/dev/null || true
        wait "$NSPAWN" 2>/dev/null || true
    fi
    rm -rf "${WORK:?}"
}

# --- In the container ---------------------------------------------------------

BAD=0 DONE=0

# Also when something ended the whole half-way.
verdict() {
    if ((DONE && BAD == 0)); then
        echo "$WHAT: all good, $SECONDS s"
        exit 0
    fi
    journalctl -u heartsay -o short-precise --no-pager | tail -60
    echo "$WHAT: $BAD bad$( ((DONE)) || echo ', and not at its end')"
    exit 1
}

fails() { ! "$@"; }

good() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "good: $what"
    else
        echo "BAD:  $what${said:+ ($said)}"
        BAD=$((BAD + 1))
    fi
}

# The same, within twenty seconds.
soon() {
    local i
    for ((i = 0; i < 80; i++)); do
        "${@:2}" 2>/dev/null && break
        sleep 0.25
    done
    good "$@"
}

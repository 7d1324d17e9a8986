#!/usr/bin/env bash
# How long a machine whose guard stands still goes on: `heartsay exec --watchdog` in a virtual machine with a real watchdog
# driver, which resets it. Emulated in software, so that no right is needed; half a minute each.
#
#   scripts/measure/watchdog-vm.sh KERNEL MODULES [softdog|i6300esb] [stop|kill|agent|term]
#
# KERNEL is a vmlinuz, MODULES the directory with watchdog.ko and the driver (kernel/drivers/watchdog of an unpacked kernel
# package). `stop` and `kill` are signals to exec, `agent` stops the agent, `term` is an orderly end: the last two reset nothing.
# Needs qemu-system-x86_64, a static busybox and cpio; exit code 3: one is missing. 1: it ended otherwise than it should.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HEARTSAY=${HEARTSAY_BIN:-$ROOT/target/release/heartsay}

main() {
    if (($# < 2)); then
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 2
    fi
    local kernel=$1 modules=$2 driver=${3:-softdog} act=${4:-stop} tool
    for tool in qemu-system-x86_64 busybox cpio; do
        command -v "$tool" >/dev/null || { echo "watchdog-vm.sh: $tool is missing" >&2 && exit 3; }
    done
    dir=$(mktemp -d)
    trap 'rm -r "$dir"' EXIT
    fill "$dir/root" "$modules" "$driver"
    (cd "$dir/root" && find . | cpio --quiet -o -H newc | gzip -1) >"$dir/initrd"
    timeout 180 qemu-system-x86_64 -accel tcg -cpu max -m 700 -smp 2 -nographic -no-reboot -device i6300esb \
        -action watchdog=reset -kernel "$kernel" -initrd "$dir/initrd" \
        -append "console=ttyS0 quiet panic=-1 driver=$driver act=$act" </dev/null >"$dir/said"
    verdict "$dir/said" "$driver" "$act"
}

# All that the machine has: busybox, this heartsay with its libraries, the driver.
fill() {
    local root=$1 modules=$2 driver=$3 library name
    mkdir -p "$root"/{bin,proc,sys,dev,tmp,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for name in sh mount insmod ip sleep cat kill poweroff; do
        ln -s busybox "$root/bin/$name"
    done
    cp "$HEARTSAY" "$root/bin/heartsay"
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp "$library" "$root$library"
    done < <(ldd "$HEARTSAY" | grep -o '/[^ ]*')
    cp "$modules/watchdog.ko" "$modules/$driver.ko" "$root/modules"
    inside >"$root/init"
    chmod +x "$root/init"
}

inside() {
    cat <<'END'
#!/bin/sh
export PATH=/bin HEARTSAY_SOCKET=/tmp/sock
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for word in $(cat /proc/cmdline); do case $word in driver=* | act=*) eval "$word" ;; esac; done
ip link set lo up
insmod /modules/watchdog.ko
insmod "/modules/$driver.ko"
heartsay agent --cluster vm --name a --bind 127.0.0.1:4327 --expected 1 --state-dir /tmp/state --socket /tmp/sock 2>/dev/null &
agent=$!
heartsay exec --while-quorum --watchdog /dev/watchdog0 -- \
    sh -c 'echo >/tmp/runs; while read -r up x </proc/uptime; do echo "acts $up"; sleep 0.05; done' &
guard=$!
until [ -e /tmp/runs ]; do sleep 0.1; done
sleep 3
read -r up x </proc/uptime
echo "struck $up"
case $act in
    stop) kill -STOP $guard ;;
    kill) kill -KILL $guard ;;
    term) kill -TERM $guard ;;
    agent) kill -STOP $agent ;;
esac
sleep 10
echo survived
poweroff -f
END
}

verdict() {
    local said=$1 driver=$2 act=$3
    tr -d '\r' <"$said" | awk -v what="$driver, $act" -v resets="$([[ $act == stop || $act == kill ]] && echo 1 || echo 0)" '
        /^heartsay: takeover/ { print }
        /^struck/ { struck = $2 }
        /^acts/ { acts = $2 }
        /^survived/ { survived = 1 }
        END {
            if (struck == "") { print what ": it did not come to it"; exit 1 }
            printf "%s: the command acted for %.2f s more; the machine %s\n", what, (acts > struck ? acts - struck : 0),
                survived ? "went on" : "was reset"
            exit survived == resets
        }'
}

main "$@"

#!/bin/sh
# /usr/lib/heartsay/after-install
# What both packages do when their files are in place, and needrestart when a library is. Also where there is no systemd: in
# a chroot, in an image.
set -eu

SOCKET=/run/heartsay/heartsay.sock

main() {
    make_user_and_directories
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload
    if systemctl is-active --quiet heartsay; then
        restart
    else
        # One that waits, for its address or for its next try. What was stopped stays stopped.
        systemctl --no-block try-restart heartsay || true
    fi
}

make_user_and_directories() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers heartsay.conf
    elif ! getent passwd heartsay >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/heartsay --no-create-home \
            --shell /usr/sbin/nologin --comment 'heartsay agent' heartsay
    fi
    install -d -m 755 /etc/heartsay /etc/heartsay/conf.d
    # It does not run in every chroot; the next boot does the same.
    systemd-tmpfiles --create heartsay.conf 2>/dev/null || true
}

# Not `systemctl restart`, which says good-bye: the others would show this member as left, and balancers drop it.
restart() {
    if ! why=$(takes_the_settings 2>&1 >/dev/null); then
        echo "$why" >&2
        echo "heartsay: the new version does not take these settings, so the old one goes on; mend them, then: heartsay restart" >&2
        return 0
    fi
    code=0
    heartsay --socket "$SOCKET" restart || code=$?
    case $code in
        0) ;;
        # It has said why, and systemd goes on.
        124) systemctl is-active --quiet heartsay || systemctl --no-pager --lines=5 status heartsay >&2 || true ;;
        *) systemctl try-restart heartsay || true ;;
    esac
}

# Whether the new program understands all that the running one was told: files, flags and variables.
takes_the_settings() {
    pid=$(systemctl show --property MainPID --value heartsay)
    {
        cat "/proc/$pid/environ"
        printf '%s\0' /usr/bin/heartsay config show
        # Behind the program and its verb.
        tail -z -n +3 "/proc/$pid/cmdline"
    } | xargs -0 env -i
}

main

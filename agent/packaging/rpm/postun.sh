if [ "$1" -eq 0 ]; then
    rm -rf /run/heartsay
    # Settings and keys stay.
    rmdir /etc/heartsay/conf.d /etc/heartsay /usr/lib/heartsay 2>/dev/null || :
    [ ! -d /run/systemd/system ] || systemctl daemon-reload || :
fi

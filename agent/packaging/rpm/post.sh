# A new service is as the host's presets have it, most often disabled. An upgrade restarts it without an alarm.
/usr/lib/heartsay/after-install || :
if [ "$1" -eq 1 ] && [ -d /run/systemd/system ]; then
    systemctl preset heartsay.service || :
fi

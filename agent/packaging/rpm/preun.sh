# An upgrade (1) stops nothing: the new version restarts the agent. A removal says good-bye; it keeps settings and state.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl disable --now heartsay.service || :
fi

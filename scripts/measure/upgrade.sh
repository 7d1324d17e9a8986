#!/usr/bin/env bash
# An upgrade of a whole cluster under load: five hosts (systemd-nspawn, a network namespace each, a bridge), each of them a backend of
# HAProxy, which one of them runs and whose servers the agent keeps by an export. Requests keep coming, and none is repeated
# by HAProxy, while the package of each host is upgraded in turn, as dpkg does it. None may fail; no server may leave HAProxy, and
# no list be written anew; each host goes on as the same one, in a later life.
#
#   sudo scripts/measure/upgrade.sh --from OLD.deb --to NEW.deb
#
# A package of an older commit, in half the time of a release: `git worktree add ../old COMMIT`, and there
# `CARGO_PROFILE_RELEASE_LTO=off cargo build --release -p heartsay` and
# `scripts/package.sh --binary target/release/heartsay --version 0.1.0~old`.
set -euo pipefail

HERE=$(dirname "${BASH_SOURCE[0]}")
WHAT="the upgrade"
# shellcheck source=scripts/measure/hosts.sh
. "$HERE/hosts.sh"

HOSTS=(1 2 3 4 5)
# Of load before the first upgrade, and after the last one.
CALM=5
FROM='' TO=''

main() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --from) FROM=$(realpath -- "${2:?--from FILE}") && shift 2 ;;
            --to) TO=$(realpath -- "${2:?--to FILE}") && shift 2 ;;
            *) fail "unknown argument $1; see the top of this file" ;;
        esac
    done
    [[ -f $FROM && -f $TO ]] || fail "--from FILE and --to FILE: two packages, as scripts/package.sh makes them"
    need_tools
    WORK=$(mktemp -d)
    trap clean_up EXIT
    install -D -m 644 "$FROM" "$WORK/src/from.deb"
    install -D -m 644 "$TO" "$WORK/src/to.deb"
    make_full_root
    boot_hosts
    local n
    for n in "${HOSTS[@]}"; do
        install_on "$n" from
        configure "$n"
    done
    front
    within 30 "HAProxy has five servers" servers_are 5
    for n in "${HOSTS[@]}"; do
        # shellcheck disable=SC2016 # the inner shell's
        within 30 "the list of host $n has five" on "$n" sh -c 'test "$(grep -c " web-[1-5] " /var/cache/heartsay/web.cfg)" = 5'
    done
    within 10 "requests are answered by all" reach 1 answers --hosts 5
    upgrade_under_load
    ((BAD == 0)) || fail "$BAD bad"
    echo "$WHAT: all good, $SECONDS s"
}

boot_hosts() {
    make_bridge
    local n
    for n in "${HOSTS[@]}"; do
        add_host "$n" "web-$n"
    done
    await_hosts
}

configure() {
    put "$1" /etc/nginx/conf.d/shop.conf <<'END'
server {
    listen 8080;
    return 200 "$hostname\n";
}
END
    put "$1" /etc/heartsay/heartsay.toml <<END
cluster = "shop"
expected = 5
seeds = ["$(address 1)", "$(address 2)", "$(address 3)"]
tags = { role = "web", port = "8080" }
[[export]]
format = "haproxy"
path = "/var/cache/heartsay/web.cfg"
name = "web"
port = "tag:port"
slots = 10
select = { tag = "role=web" }
END
    on "$1" systemctl restart nginx heartsay
}

# `retries 0`: what fails is told to the client, and counted.
front() {
    on 1 sh -c 'echo "runtime = \"/run/haproxy/admin.sock\"" >>/etc/heartsay/heartsay.toml'
    put 1 /etc/systemd/system/heartsay.service.d/haproxy.conf <<'END'
[Service]
SupplementaryGroups=haproxy
END
    on 1 sh -c 'cat >>/etc/haproxy/haproxy.cfg' <<'END'
    retries 0
    no option redispatch
frontend shop
    bind :8082
    default_backend web
END
    on 1 sh -c "echo 'EXTRAOPTS=\"-S /run/haproxy-master.sock -f /var/cache/heartsay/web.cfg\"' >>/etc/default/haproxy"
    on 1 systemctl daemon-reload
    on 1 systemctl restart heartsay
    within 20 "the first host has its list" on 1 test -e /var/cache/heartsay/web.cfg
    on 1 systemctl restart haproxy
}

servers_are() { [[ $(reach 1 servers) == "$1" ]]; }

upgrade_under_load() {
    local n before=() after=()
    reach 1 load --servers 5 --until "$WORK/done" &
    local load=$!
    sleep "$CALM"
    for n in "${HOSTS[@]}"; do
        before[n]=$(life "$n")
        local began=$SECONDS
        install_on "$n" to
        echo "host $n: $(on "$n" heartsay version | head -1), upgraded in $((SECONDS - began)) s"
    done
    sleep "$CALM"
    : >"$WORK/done"
    wait "$load" || BAD=$((BAD + 1))
    for n in "${HOSTS[@]}"; do
        after[n]=$(life "$n")
        later "${before[n]}" "${after[n]}" || bad "host $n was ${before[n]} and is ${after[n]}: host id, generation, list"
    done
    ((BAD)) || echo "good: all went on as the same hosts in later lives, and no list was written anew"
}

# Host id, generation, and the file of the list: another inode means that it was written anew.
life() {
    on "$1" sh -c 'heartsay status -o json; stat -c %i /var/cache/heartsay/web.cfg' | python3 -c '
import json, sys
text = sys.stdin.read()
status, end = json.JSONDecoder().raw_decode(text)
me = status.get("member") or status["self"]["member"]
print(me["host_id"], me["generation"], text[end:].strip())'
}

later() {
    local before after
    read -ra before <<<"$1"
    read -ra after <<<"$2"
    [[ ${before[0]} == "${after[0]}" && ${before[2]} == "${after[2]}" ]] && ((before[1] < after[1]))
}

main "$@"

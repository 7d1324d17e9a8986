#!/usr/bin/env bash
# From bare Debian to names that resolve and to HAProxy, nginx and Prometheus that follow the members, without a line of glue: every
# file below is a setting. It makes three hosts (systemd-nspawn, a network namespace each, a bridge), installs the package, and
# then
#
#   1. kills the agent of a host by SIGKILL,
#   2. kills a service: nginx of one host. Its unit takes the tag role=web away when it ends, however it ends, and sets it when it
#      starts. That is what a service has today; the weak spot is an agent that starts anew while its service is dead, and
#      says role=web again, as its settings do,
#   3. takes the cable out of a host,
#
# and prints the milliseconds from the verdict (the event at the host that looks, by its own time) to each effect: 100 at most, but for
# Prometheus, which takes over new targets every five seconds, whoever tells it. A role in the DNS loses a suspect before
# the verdict: a figure below 0. Last, it looks whether hosts that are cut off keep
# the lists that they had: one alone, all from one another, with a stated electorate and without.
#
#   sudo scripts/measure/ten-minutes.sh --deb target/packages/heartsay_0.1.0_amd64.deb
#   sudo FRESH=1 scripts/measure/ten-minutes.sh ...       makes the Debian root anew too, as the first run does
set -euo pipefail

HERE=$(dirname "${BASH_SOURCE[0]}")
WHAT="ten minutes"
# shellcheck source=scripts/measure/hosts.sh
. "$HERE/hosts.sh"

ALL=10.79.0.11,10.79.0.12,10.79.0.13
# Above the 10 s after which losses count as old.
CUT=30
DEB=

main() {
    while [[ $# -gt 0 ]]; do
        case $1 in
            --deb) DEB=$(realpath -- "${2:?--deb FILE}") && shift 2 ;;
            *) fail "unknown argument $1; see the top of this file" ;;
        esac
    done
    [[ -f $DEB ]] || fail "--deb FILE: the package, as scripts/package.sh makes it"
    need_tools
    WORK=$(mktemp -d)
    trap clean_up EXIT
    install -D -m 644 -t "$WORK/src" "$DEB"
    local n
    took "a bare Debian with the programs" make_full_root
    took "three hosts" boot_hosts
    took "installed" install_all
    took "all lists are full" all_full
    within 10 "requests to HAProxy are answered by all" reach 1 answers --hosts 3
    within 10 "... and those to nginx" reach 1 answers --hosts 3 --port 8081

    never_restarted 3
    times "SIGKILL of an agent" 3 member-down on 3 systemctl kill --signal=KILL --kill-who=main heartsay
    on 3 systemctl start heartsay
    all_full
    times "SIGKILL of a service" 2 member-update on 2 systemctl kill --signal=KILL --kill-who=main nginx
    on 2 systemctl restart nginx
    all_full
    times "a host without a cable" 3 member-down link 3 down

    # systemd-resolved asks nobody, on loopback neither, while its host has no network.
    WITHOUT=getent keeps "the host without a cable" 3
    link 3 up
    all_full
    for n in 1 2 3; do
        silence "$n"
    done
    keeps "each host alone" 1 2 3
    for n in 1 2 3; do
        unsilence "$n"
    done
    all_full
    without_electorate
    silence 3
    # The first suspect is out of its role before a second one makes both doubtful.
    WITHOUT=dig,getent keeps "without an electorate, a host alone" 3
    unsilence 3
    all_full
    echo
    echo "total: $SECONDS s"
    ((SECONDS <= 600)) || bad "more than ten minutes"
    ((BAD == 0)) || fail "$BAD bad"
    echo "$WHAT: all good"
}

# --- Three hosts --------------------------------------------------------------

boot_hosts() {
    make_bridge
    local n
    for n in 1 2 3; do
        add_host "$n" "web-$n"
    done
    await_hosts
}

# What an operator does on each host, and the settings that he writes. The first one is also the front.
install_all() {
    local n
    for n in 1 2 3; do
        install_on "$n" heartsay
        settings 'expected = 3' | put "$n" /etc/heartsay/heartsay.toml
        service "$n"
        resolver "$n"
        on "$n" heartsay config check >/dev/null
        on "$n" systemctl start heartsay
        on "$n" systemctl restart nginx
        on "$n" systemctl restart systemd-resolved
    done
    front
}

settings() {
    cat <<END
cluster = "shop"
seeds = ["$(address 1)", "$(address 2)", "$(address 3)"]
tags = { role = "web", port = "8080" }
http_listen = "0.0.0.0:4328"
dns_listen = "127.0.0.1:4329"
dns_ttl = "0s"
$1

[[export]]
format = "haproxy"
path = "/var/cache/heartsay/web.cfg"
name = "web"
port = "tag:port"
options = "check inter 1s"
slots = 10
select = { tag = "role=web" }
${2:-}

[[export]]
format = "nginx"
path = "/var/cache/heartsay/web.conf"
port = "tag:port"
select = { tag = "role=web" }
on_change = ": >/var/cache/heartsay/web.changed"

[[export]]
format = "prometheus-sd"
path = "/var/cache/heartsay/agents.json"
port = 4328
select = { tag = "role=web" }

[[export]]
format = "hosts"
path = "/var/cache/heartsay/hosts"
domain = "shop.heartsay"
select = { tag = "role=web" }
END
}

# What the hosts serve, and what tells the cluster that they do.
service() {
    put "$1" /etc/nginx/conf.d/shop.conf <<'END'
server {
    listen 8080;
    return 200 "$hostname\n";
}
END
    put "$1" /etc/systemd/system/nginx.service.d/heartsay.conf <<'END'
[Unit]
After=heartsay.service
[Service]
ExecStartPost=/usr/bin/heartsay tags set role=web
ExecStopPost=/usr/bin/heartsay tags delete role
END
    on "$1" systemctl daemon-reload
}

resolver() {
    put "$1" /etc/systemd/resolved.conf.d/heartsay.conf <<'END'
[Resolve]
DNS=127.0.0.1:4329
Domains=~shop.heartsay
END
}

# HAProxy, nginx and Prometheus on the first host.
front() {
    settings 'expected = 3' 'runtime = "/run/haproxy/admin.sock"' | put 1 /etc/heartsay/heartsay.toml
    put 1 /etc/systemd/system/heartsay.service.d/haproxy.conf <<'END'
[Service]
SupplementaryGroups=haproxy
END
    on 1 sh -c 'cat >>/etc/haproxy/haproxy.cfg' <<'END'
frontend shop
    bind :8082
    default_backend web
END
    on 1 sh -c "echo 'EXTRAOPTS=\"-S /run/haproxy-master.sock -f /var/cache/heartsay/web.cfg\"' >>/etc/default/haproxy"
    put 1 /etc/nginx/conf.d/front.conf <<'END'
upstream web {
    include /var/cache/heartsay/web.conf;
}
server {
    listen 8081;
    location / {
        proxy_pass http://web;
    }
}
END
    put 1 /etc/systemd/system/web-list.path <<'END'
[Path]
PathExists=/var/cache/heartsay/web.changed
[Install]
WantedBy=multi-user.target
END
    put 1 /etc/systemd/system/web-list.service <<'END'
[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm -f /var/cache/heartsay/web.changed && read -r pid </run/nginx.pid && kill -HUP $$pid'
END
    put 1 /etc/prometheus/prometheus.yml <<'END'
global:
  scrape_interval: 1s
rule_files:
  - /usr/share/doc/heartsay/examples/alerts.yaml
scrape_configs:
  - job_name: heartsay
    file_sd_configs:
      - files: [/var/cache/heartsay/agents.json]
    relabel_configs:
      - source_labels: [__address__]
        target_label: address
      - source_labels: [__meta_heartsay_name]
        target_label: instance
END
    on 1 systemctl daemon-reload
    on 1 systemctl restart heartsay
    # None of them starts without the files that it reads.
    within 20 "the lists are there" on 1 test -e /var/cache/heartsay/web.cfg -a -e /var/cache/heartsay/web.conf
    on 1 systemctl enable --quiet --now web-list.path
    on 1 systemctl restart nginx haproxy prometheus
}

without_electorate() {
    local n
    for n in 1 2 3; do
        on "$n" sed -i '/^expected/d' /etc/heartsay/heartsay.toml
        on "$n" heartsay reload >/dev/null
    done
}

# --- What is done and looked at -------------------------------------------------

# `took WHAT COMMAND...`
took() {
    local what=$1 began=$SECONDS
    shift
    "$@"
    echo "$what: $((SECONDS - began)) s"
}

# Its agent stays dead when it is killed.
never_restarted() {
    put "$1" /run/systemd/system/heartsay.service.d/dead.conf <<'END'
[Service]
Restart=no
END
    on "$1" systemctl daemon-reload
}

all_full() {
    local n
    within 30 "all that is kept and asked has three members, on the first host" reach 1 full --programs --addresses "$ALL"
    for n in 2 3; do
        within 30 "... and on host $n" reach "$n" full --addresses "$ALL"
    done
}

# `times WHAT NUMBER EVENT COMMAND...`: what the first host sees of the command, which takes host NUMBER from the lists.
times() {
    local what=$1 number=$2 event=$3 go=$WORK/go
    shift 3
    echo
    rm -f "$go" && mkfifo "$go"
    reach 1 effects --programs --what "$what" --name "web-$number" --address "$(address "$number")" --event "$event" --go "$go" &
    # It reads there when it looks.
    # shellcheck disable=SC2016 # the inner shell's
    timeout 20 sh -c ': >"$1"' sh "$go" || true
    "$@"
    wait "$!" || BAD=$((BAD + 1))
}

# `keeps WHAT NUMBER...`: these hosts have all in their lists, all the time.
keeps() {
    local what=$1 number programs pids=() pid lost=0 without=${WITHOUT:-}
    shift
    echo
    for number in "$@"; do
        programs=
        ((number > 1)) || programs=--programs
        # shellcheck disable=SC2086 # none, or one word
        reach "$number" kept $programs --without "$without" --addresses "$ALL" --seconds "$CUT" &
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || lost=1
    done
    if ((lost)); then
        bad "lists are kept: $what"
    else
        echo "good: lists are kept: $what"
    fi
}

main "$@"

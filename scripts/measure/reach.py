#!/usr/bin/env python3
"""What the programs on a host see of its cluster, and how soon; for ten-minutes.sh and upgrade.sh.

It runs in the network namespace of a host (`nsenter -n`) and finds the host's files below /proc/PID/root.

  reach.py effects   times what follows the verdict on a member: when it is gone from each list
  reach.py full      whether each list has exactly these members
  reach.py kept      whether it has them all the time
  reach.py answers   whether requests to a balancer are answered by that many hosts
  reach.py servers   prints how many servers HAProxy sends requests to
  reach.py load      keeps requests running through HAProxy, and counts those that fail
"""

import argparse
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from datetime import datetime
from http.client import HTTPConnection

ROLE, FRONT = "web.role.shop.heartsay", 8082
HAPROXY = "run/haproxy/admin.sock"
LISTS = ["web.cfg", "web.conf", "agents.json", "hosts"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("effects", "full", "kept", "answers", "servers", "load"):
        sub = verbs.add_parser(verb)
        sub.add_argument("--pid", type=int, required=True, help="process 1 of the host")
        sub.add_argument("--programs", action="store_true", help="HAProxy, nginx and Prometheus run on this host")
        if verb in ("full", "kept"):
            sub.add_argument("--addresses", type=lambda text: set(text.split(",")), required=True)
        if verb == "kept":
            sub.add_argument("--seconds", type=float, required=True)
            sub.add_argument("--without", type=lambda text: set(text.split(",")), default=set(), help="lists not to look at")
        if verb == "effects":
            sub.add_argument("--address", required=True, help="of the member that goes")
            sub.add_argument("--event", default="member-down", help="the verdict")
            sub.add_argument("--name", required=True, help="of the member that goes")
            sub.add_argument("--what", required=True, help="printed with the figures")
            sub.add_argument("--most", type=float, default=100.0, help="milliseconds that an effect may take")
            sub.add_argument("--go", required=True, help="a pipe; when it has been written to, the cause begins")
        if verb == "answers":
            sub.add_argument("--hosts", type=int, required=True)
            sub.add_argument("--port", type=int, default=FRONT)
        if verb == "load":
            sub.add_argument("--rate", type=float, default=200.0, help="requests in a second")
            sub.add_argument("--until", required=True, help="it ends when this file is there")
            sub.add_argument("--servers", type=int, required=True, help="as many as HAProxy should have all the time")
    args = parser.parse_args()
    host = Host(args.pid)
    sys.exit({"effects": effects, "full": full, "kept": kept, "answers": answers, "servers": servers, "load": load}[args.verb](host, args))


# --- What there is to see -----------------------------------------------------


class Host:
    """The addresses of members that each program of a host has."""

    def __init__(self, pid):
        self.pid, self.root = pid, f"/proc/{pid}/root"
        self.nginx = None

    def path(self, name):
        return os.path.join(self.root, name)

    def list(self, name):
        with open(self.path(f"var/cache/heartsay/{name}"), encoding="utf-8") as file:
            lines = [line for line in file.read().split("\n") if "disabled" not in line]
        return found("\n".join(lines))

    def haproxy(self):
        """Servers that are not in maintenance, as HAProxy says."""
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(2)
            talk.connect(self.path(HAPROXY))
            talk.sendall(b"show servers state web\n")
            answer = b"".join(iter(lambda: talk.recv(65536), b"")).decode()
        lines = answer.splitlines()
        columns = lines[1].lstrip("# ").split()
        rows = [dict(zip(columns, line.split())) for line in lines[2:] if line.strip()]
        return {row["srv_addr"] for row in rows if int(row["srv_admin_state"]) & 1 == 0}

    def nginx_workers(self):
        # Looked for once, of all processes: every 4 ms that would be what is measured.
        self.nginx = self.nginx or self.nginx_master()
        with open(f"/proc/{self.nginx}/task/{self.nginx}/children", encoding="ascii") as file:
            return set(file.read().split())

    def nginx_master(self):
        with open(self.path("run/nginx.pid"), encoding="ascii") as file:
            pid = int(file.read())
        return next(p for p in every_process() if inner_pid(p) == pid and parent_namespace(p) == parent_namespace(self.pid))

    def prometheus(self):
        """Targets that it scrapes, as its API says."""
        answer = get("127.0.0.1", 9090, "/api/v1/targets?state=active")
        return {found(target["scrapeUrl"]).pop() for target in json.loads(answer)["data"]["activeTargets"]}

    def prometheus_up(self):
        answer = get("127.0.0.1", 9090, "/api/v1/query?query=up%7Bjob%3D%22heartsay%22%7D%3D%3D1")
        return {found(row["metric"]["address"]).pop() for row in json.loads(answer)["data"]["result"]}

    def dns(self):
        """As `dig @127.0.0.1 -p 4329` has it."""
        return ask_dns(("127.0.0.1", 4329), ROLE)

    def getent(self):
        """By glibc and systemd-resolved, as any program of the host."""
        words = ["nsenter", "-t", str(self.pid), "-m", "-n", "--", "getent", "ahostsv4", ROLE]
        return found(subprocess.run(words, capture_output=True, text=True, check=False).stdout)

    def views(self, programs):
        views = {f"file {name}": lambda name=name: self.list(name) for name in LISTS}
        views["dig"] = self.dns
        views["getent"] = self.getent
        if programs:
            views["HAProxy"] = self.haproxy
            views["Prometheus"] = self.prometheus
        return views


def found(text):
    words = "".join(c if c.isdigit() or c == "." else " " for c in text).split()
    return {word for word in words if word.count(".") == 3}


def every_process():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def inner_pid(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            ids = next((line.split() for line in file if line.startswith("NSpid:")), ["", "0"])
        return int(ids[-1])
    except OSError:
        return 0


def parent_namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def get(address, port, path):
    connection = HTTPConnection(address, port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if answer.status != 200:
        raise OSError(f"{path}: {answer.status}")
    return body


def ask_dns(server, name):
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    number = random.randrange(65536)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.settimeout(1)
        talk.sendto(struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + question + struct.pack(">2H", 1, 1), server)
        answer = talk.recv(4096)
    code, answers = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
    if code != 0:
        raise OSError(f"{name}: response code {code}")
    # Each answer points back to the name: two bytes, then type, class, TTL, length, address.
    records, at = set(), 12 + len(question) + 4
    for _ in range(answers):
        length = struct.unpack(">H", answer[at + 10 : at + 12])[0]
        records.add(socket.inet_ntoa(answer[at + 12 : at + 12 + length]))
        at += 12 + length
    return records


# --- How soon ------------------------------------------------------------------


def effects(host, args):
    watch = Watch(host, args.event, args.name)
    views = host.views(args.programs)
    missing = [what for what, view in views.items() if args.address not in view()]
    if missing:
        print(f"BAD:  {args.name} is not in {', '.join(missing)} to begin with")
        return 1
    if args.programs:
        before = host.nginx_workers()
        views["nginx has reloaded"] = lambda: {args.address} if host.nginx_workers() <= before else set()
    seen = {}
    threads = [threading.Thread(target=look, args=(view, args.address, seen, what)) for what, view in views.items()]
    for thread in threads:
        thread.start()
    with open(args.go, encoding="ascii") as go:
        go.read()
    began = time.time()
    verdict = watch.wait()
    for thread in threads:
        thread.join()
    if verdict is None:
        print(f"BAD:  {args.what}: no {args.event} of {args.name} within {PATIENCE:.0f} s")
        return 1
    print(f"{args.what}: {args.event} of {args.name} {1000 * (verdict - began):.0f} ms after it; milliseconds from that on:")
    late = 0
    for what in sorted(views, key=lambda what: seen.get(what, float("inf"))):
        if what not in seen:
            print(f"BAD:  {what} never")
            late += 1
            continue
        took = 1000 * (seen[what] - verdict)
        slow = took > args.most and what != "Prometheus"
        late += slow
        print(f"{'BAD: ' if slow else '     '}{took:8.1f}  {what}")
    return min(late, 1)


def look(view, address, seen, what):
    """Until the address is not in the view any more."""
    end = time.time() + PATIENCE
    while time.time() < end:
        try:
            if address not in view():
                seen[what] = time.time()
                return
        except (OSError, ValueError, IndexError):
            pass
        time.sleep(0.004)


class Watch:
    """The stream of the agent, until the verdict."""

    def __init__(self, host, event, name):
        words = [host.path("usr/bin/heartsay"), "--socket", host.path("run/heartsay/heartsay.sock"), "watch", "-o", "jsonl"]
        self.child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.child.stdout.readline()
        self.event, self.name, self.at = event, name, None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.child.stdout:
            event = json.loads(line)
            if event["type"] == self.event and event.get("name") == self.name:
                self.at = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
                return

    def wait(self):
        self.thread.join(PATIENCE)
        self.child.terminate()
        self.child.wait()
        return self.at


# --- Whether --------------------------------------------------------------------


def full(host, args):
    views = host.views(args.programs)
    if args.programs:
        views["Prometheus, scraped"] = host.prometheus_up
    wrong = {what: sorted(view()) for what, view in views.items() if view() != args.addresses}
    for what, has in wrong.items():
        print(f"{what} has {has}")
    return min(len(wrong), 1)


def kept(host, args):
    end, wrong, looks = time.time() + args.seconds, {}, 0
    while time.time() < end:
        for what, view in host.views(args.programs).items():
            if what in args.without:
                continue
            try:
                has = view()
            except (OSError, ValueError, IndexError) as error:
                has = error
            if has != args.addresses:
                wrong.setdefault(what, has)
        looks += 1
        time.sleep(0.25)
    for what, has in wrong.items():
        print(f"BAD:  {what} had {has}")
    print(f"{looks} looks within {args.seconds:.0f} s")
    return min(len(wrong), 1)


def answers(_, args):
    names = {get("127.0.0.1", args.port, "/").strip() for _ in range(10 * args.hosts)}
    print(f"answered by {', '.join(sorted(names))}")
    return int(len(names) != args.hosts)


def servers(host, _):
    print(len(host.haproxy()))
    return 0


# --- Under load -------------------------------------------------------------------


def load(host, args):
    failed, slowest, had, done = [], [0.0], set(), [0]
    stop, lock = threading.Event(), threading.Lock()

    def requests(every):
        due = time.monotonic() + every * random.random()
        while not stop.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due += every
            began = time.monotonic()
            try:
                get("127.0.0.1", FRONT, "/")
                error = None
            except OSError as e:
                error = f"{datetime.now():%H:%M:%S.%f} {e!r}"
            with lock:
                done[0] += 1
                slowest[0] = max(slowest[0], time.monotonic() - began)
                if error:
                    failed.append(error)

    workers = [threading.Thread(target=requests, args=(WORKERS / args.rate,)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    began = time.monotonic()
    while not os.path.exists(args.until):
        had.add(len(host.haproxy()))
        time.sleep(0.05)
    stop.set()
    for worker in workers:
        worker.join()
    print(f"{done[0]} requests in {time.monotonic() - began:.0f} s, {len(failed)} failed, the slowest took {1000 * slowest[0]:.0f} ms")
    for error in failed[:20]:
        print(f"BAD:  {error}")
    if had != {args.servers}:
        print(f"BAD:  HAProxy had {sorted(had)} servers at times")
    return int(bool(failed) or had != {args.servers})


# For a verdict and its effects. Prometheus passes targets on at most every five seconds.
PATIENCE = 15.0
WORKERS = 8

if __name__ == "__main__":
    main()

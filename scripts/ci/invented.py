"""An invented agent with as many members as wanted, for the page: it answers what the page asks, and something always happens."""

import json
import random
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


def stamp(seconds_ago=0.0):
    return datetime.fromtimestamp(time.time() - seconds_ago, timezone.utc).isoformat().replace("+00:00", "Z")


class Invented:
    """Ends with its block. `page`: the bytes of `GET /` with its headers."""

    def __init__(self, members, page):
        self.chance = random.Random(7)
        self.page, self.index, self.turned = page, 1000, threading.Condition()
        self.mine = {"joined": True, "isolated": False, "findings": []}
        self.members = [self.member(n) for n in range(1, members + 1)]
        self.lines = []

    def member(self, n):
        return {
            "name": f"node-{n:04}", "host_id": f"host-{n}", "generation": 1796102775758 + n, "heartbeat": 40, "status": "alive",
            "address": f"10.0.{n // 250}.{n % 250}:4327", "zone": f"zone-{'abc'[n % 3]}", "tags": {"role": ["web", "db"][n % 2]},
            "version": "0.1.0", "beating": True, "phi": 0.0, "since": stamp(3000), "reachable": True, "accusers": [], "degraded": False,
        }  # fmt: skip

    def turn(self, n, status, reason="invented"):
        """Lets something happen to a member."""
        with self.turned:
            member = self.members[n - 1]
            self.index += 1
            member.update(status=status, since=stamp(), phi=0.0, accusers=["node-0002"] if status == "suspect" else [])
            line = {
                "type": f"member-{status}", "index": self.index, "time": stamp(), "name": member["name"], "status": status,
                "generation": member["generation"], "by": ["node-0002"], "reason": reason,
            }  # fmt: skip
            self.lines.append(line)
            self.turned.notify_all()

    def __enter__(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                owner.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        path = urlsplit(request.path).path
        if path == "/":
            body, headers = self.page
        elif path == "/v1/watch":
            return self.watch(request)
        else:
            with self.turned:
                status, said = self.say(path)
            body, headers = json.dumps(said).encode(), {"content-type": "application/json", "status": status}
        request.send_response(headers.get("status", 200))
        for name, value in headers.items():
            if name != "status":
                request.send_header(name, value)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def say(self, path):
        me = self.members[0]
        if path == "/v1/self":
            return 200, self.self(me)
        if path == "/v1/members":
            for member in self.members[1:]:
                member["heartbeat"] += 1
                member["phi"] = 0.0 if member["status"] == "down" else round(self.chance.expovariate(2.5), 2)
            return 200, {"self": me["name"], "index": self.index, **self.mine, "members": self.members}
        if path.startswith("/v1/members/"):
            named = [member for member in self.members if member["name"] == unquote(path.rsplit("/", 1)[1])]
            return (200, named[0]) if named else (404, {"detail": "no such member"})
        if path == "/v1/paths":
            paths = [
                {"name": one["name"], "id": one["host_id"], "address": one["address"], "state": "up", "unanswered": 0,
                 "last_direct_ms_ago": 400, "rtt_ms": round(self.chance.uniform(0.3, 1.9), 3), "through": []}
                for one in self.members[1:] if one["status"] != "down"
            ]  # fmt: skip
            return 200, {"self": me["name"], "at": stamp(), "paths": paths}
        if path == "/v1/services":
            some = [{"member": one["name"], "status": one["status"], "id": "", "address": "", "port": 80, "health": "passing", "tags": {}}
                    for one in self.members[::2]]  # fmt: skip
            return 200, {"self": me["name"], "index": self.index, **self.mine, "services": [
                {"name": "web", "healthy": len(some), "known": len(some), "instances": some}], "unreadable": 0}  # fmt: skip
        if path == "/v1/history":
            kept = [{**line, "life": me["generation"]} for line in self.lines]
            return 200, {"self": me["name"], "kept": "disk", "oldest": stamp(86400), "more": False, "damaged": 0, "left_out": 0,
                         "entries": kept}  # fmt: skip
        return 404, {"detail": f"there is nothing at {path}"}

    def self(self, me):
        counts = {status: sum(one["status"] == status for one in self.members) for status in ("alive", "suspect", "down", "left")}
        down = [one for one in self.members if one["status"] == "down"]
        findings = self.mine["findings"] + [
            {"code": "member-down", "severity": "error", "of": one["name"], "what": f"{one['name']} at {one['address']} is down",
             "remedy": "start the agent there", "since": one["since"]} for one in down
        ]  # fmt: skip
        return {
            "member": {**me, "evidence": {"phi_threshold": 8.0}}, "cluster": "invented", "profile": "lan", "bind": me["address"], "pid": 1,
            "started": stamp(86400), "encrypted": True, "keys": [7], "joined": self.mine["joined"], "outside": None,
            "isolated": self.mine["isolated"], "leaving": False, "local_health": 0, "peers_agreeing": 40, "peers_known": 40,
            "seeds_heard": 0, "counts": counts, "beat": None, "seeds": [{"name": "10.0.0.1", "addresses": [], "error": None}],
            "conditions": [one["what"] for one in findings], "findings": findings,
            "version": {"version": "0.1.0", "protocol_min": 2, "protocol_max": 2},
            "quorum": {"quorum": "held", "present": 700, "needed": 501, "expected": 1000, "electorate": "1000", "reason": "enough hear us",
                       "since": stamp(86400), "zones": []},
        }  # fmt: skip

    def watch(self, request):
        request.send_response(200)
        request.send_header("content-type", "application/x-ndjson")
        request.send_header("connection", "close")
        request.end_headers()
        request.close_connection = True
        at = len(self.lines)
        try:
            lines = [{"type": "idle", "index": self.index, "time": stamp()}]
            while True:
                request.wfile.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                with self.turned:
                    self.turned.wait(5)
                    lines, at = self.lines[at:], len(self.lines)
                lines = lines or [{"type": "idle", "index": self.index, "time": stamp()}]
        except OSError:
            return

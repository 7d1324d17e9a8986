"""Who is in the cluster and who is alive, by the agent of this host. Standard library only; Python 3.9 or later.

    import heartsay
    agent = heartsay.Agent()
    print([m["name"] for m in agent.members(tag="role=web", status="alive")["members"]])
    for line in agent.watch():
        print(line["type"], line.get("name"))

Answers are the JSON of the agent as dicts (docs/openapi.yaml); fields may be added. An Agent may be used by several threads.
"""

import contextlib
import http.client
import json
import math
import os
import socket
import subprocess
import threading
import time
from urllib.parse import quote, urlencode, urlsplit


class Error(Exception):
    """The agent could not be asked, or did not grant what was asked."""


class NoAgent(Error):
    """No agent answers: it is not there, is stopping, or stands still."""


class Refused(Error):
    """The agent says no: `status` and `detail` say why."""

    def __init__(self, status, detail):
        super().__init__(detail)
        self.status, self.detail = status, detail


class Agent:
    """The agent at a Unix socket (a path), or at `http://HOST:PORT` (reads only).

    Without an address: that of HEARTSAY_SOCKET, or the first of the usual sockets that exists.
    """

    def __init__(self, address=None):
        usual = ["/run/heartsay/heartsay.sock", os.environ.get("XDG_RUNTIME_DIR", "") + "/heartsay.sock"]
        usual = next(filter(os.path.exists, usual), usual[0])
        self.address = address or os.environ.get("HEARTSAY_SOCKET") or usual

    def members(self, status=(), tag=(), evidence=False):
        """All members, or those of these statuses that have all these tags. `members` is the list; see `joined` and `isolated`."""
        query = _filters(status=status, tag=tag) + ([("evidence", "true")] if evidence else [])
        return self._get("/v1/members?" + urlencode(query))

    def member(self, name):
        """One member, with its evidence; None if no member has this name."""
        try:
            return self._get("/v1/members/" + quote(name, safe=""))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def self(self):
        """The agent, and its cluster as a whole."""
        return self._get("/v1/self")

    def quorum(self, timeout=10.0):
        """Whether this agent stands on the side that may act. Count `left_seconds` from before the call."""
        return self._get("/v1/quorum", timeout)

    def history(self, member=(), type=(), since=(), until=(), limit="1000"):
        """What happened in the last days, `entries` the oldest first, `since` and `until` in RFC 3339. 409: the agent keeps none."""
        return self._get("/v1/history?" + urlencode(_filters(member=member, type=type, since=since, until=until, limit=str(limit))))

    def register(self, name, **service):
        """Registers a service of this host (id, port, address, tags) until this process ends in any way, or the result is called.

        A thread registers it again when the agent is back after a restart. Refused at once if another program has it.
        """
        wish = json.dumps({**service, "name": name, "hold": True})
        held, ended = [*self._ask("/v1/services", _SILENCE, wish)], threading.Event()

        def keep():
            while not ended.is_set():
                for _ in _lines(*held, math.inf):
                    pass
                if not ended.wait(_RETRY):
                    with contextlib.suppress(Error):
                        held[:] = self._ask("/v1/services", _SILENCE, wish)
            held[0].close()

        threading.Thread(target=keep, daemon=True).start()
        return lambda: (ended.set(), held[0].sock and held[0].sock.shutdown(socket.SHUT_RDWR))

    def watch(self, type=(), status=(), tag=(), since=None, generation=None, timeout=None):
        """Yields a snapshot and then each change, for ever, also over breaks and restarts of the agent.

        After a break it goes on behind the last line. Where that cannot be (another life of the agent, or more events than
        it keeps), it yields a line of type "lagged" and then a new snapshot: start over from that. With `since` (and the
        `generation` of that snapshot) it resumes, without the snapshot. A snapshot at the start comes whatever the filter.
        With `timeout`, in seconds, TimeoutError is raised when it has passed.
        """
        filters = _filters(type=type, status=status, tag=tag)
        if type and "snapshot" not in ([type] if isinstance(type, str) else type):
            filters.append(("type", "snapshot"))
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        while True:
            query = filters + [(k, v) for k, v in [("since", since), ("generation", generation)] if v is not None]
            connection = None
            try:
                connection, response = self._ask("/v1/watch?" + urlencode(query), min(_SILENCE, deadline - time.monotonic()))
                for line in _lines(connection, response, deadline):
                    if line["type"] == "snapshot":
                        generation = line["generation"]
                    since = line["index"]
                    yield line
            except Refused as refused:
                if refused.status == 410 and since is not None:
                    yield {"type": "lagged", "index": since, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
                    since = generation = None
                    continue
                if refused.status not in _LATER:
                    raise
            except NoAgent:
                pass
            finally:
                if connection:
                    connection.close()
            time.sleep(max(min(_RETRY, deadline - time.monotonic()), 0))

    def wait(self, condition, timeout=None):
        """Waits until `condition(view)` is true, and returns the view; TimeoutError when `timeout` seconds have passed.

        See View. For example: agent.wait(lambda view: len(view.alive(role="web")) >= 3 and view.quorum_held, timeout=60)
        """
        view = View()
        for line in self.watch(timeout=timeout):
            view.take(line)
            if line["type"] in ("snapshot", "self", "idle"):
                # No line says all of it. Asked after the stream is open, so nothing falls between.
                view.quorum = None
                with contextlib.suppress(Error):
                    me = self.self()
                    view.joined, view.isolated, view.quorum = me["joined"], me["isolated"], me["quorum"]
            if view.members and view.quorum and condition(view):
                return view

    def guard(self, command, grace=5.0, restart=False, **popen):
        """Runs `command` (a list) once quorum is held, and only while it is; returns its exit code, or None when quorum was lost.

        It reads /dev/null, ends with 127 where there is no such program, and runs in a session of its own, whose process group gets SIGTERM, and SIGKILL after `grace` seconds: when quorum is
        lost, when the agent does not answer or its proof runs out, when the command ends, and when this process ends in any
        way. With `restart` it starts again when quorum is back. It is advisory: a host that stands still cannot stop itself. See
        docs/clients.md, and `heartsay exec --watchdog`.
        """
        while True:
            sight = _Sight()
            while not sight.look(self):
                time.sleep(_ASK)
            # Ends the group when its input ends, so also when this process ends, however it does.
            keeper = subprocess.Popen(["/bin/sh", "-c", _KEEP, str(int(grace / 0.05))], stdin=subprocess.PIPE, start_new_session=True)
            try:
                start = ["/bin/sh", "-c", _START, "sh", *command]
                child = subprocess.Popen(start, stdin=keeper.stdin, start_new_session=True, **popen)
                while sight.look(self):
                    try:
                        return child.wait(sight.pause())
                    except subprocess.TimeoutExpired:
                        pass
            finally:
                keeper.stdin.close()
                while keeper.poll() is None:
                    child.poll()
                    time.sleep(0.02)
            if not restart:
                return None

    def _get(self, path, timeout=10.0):
        connection, response = self._ask(path, timeout)
        try:
            return json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoAgent(f"{self.address}: the answer broke off: {error}") from error
        finally:
            connection.close()

    def _ask(self, path, timeout, body=None):
        if timeout <= 0:
            raise TimeoutError("time is up")
        connection = _Connection(self.address, timeout)
        try:
            connection.request("POST" if body else "GET", path, body)
            response = connection.getresponse()
            if response.status == 200:
                return connection, response
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAgent(f"no agent answers at {self.address}: {error}") from error
        connection.close()
        is_problem = response.headers.get_content_type() == "application/problem+json"
        raise Refused(response.status, json.loads(body)["detail"] if is_problem else response.reason)


class View:
    """The members and this agent, as the lines of the stream tell of them."""

    def __init__(self):
        self.members, self.quorum, self.joined, self.isolated = {}, None, False, False

    @property
    def quorum_held(self):
        return self.quorum is not None and self.quorum["quorum"] == "held"

    def alive(self, **tags):
        """Members that are alive and have these tags."""
        alive = [m for m in self.members.values() if m["status"] == "alive"]
        return [m for m in alive if tags.items() <= m.get("tags", {}).items()]

    def take(self, line):
        kind, name = line["type"], line.get("name")
        if kind in ("snapshot", "lagged"):
            self.members = {m["name"]: m for m in line.get("members", [])}
        self.quorum = line.get("quorum", self.quorum)
        if kind == "member-forgotten":
            self.members.pop(name, None)
        elif kind.startswith("member-"):
            told = {k: line[k] for k in ("name", "generation", "status", "address", "tags", "fenced") if k in line}
            if "tags" in line:
                told["zone"] = line.get("zone")
            self.members.setdefault(name, {}).update(told)


class _Sight:
    """Quorum as the guard sees it: held, by a proof that is good until a moment of the monotonic clock."""

    def __init__(self):
        self.until = self.since = None

    def look(self, agent):
        before = time.monotonic()
        limit = _ANSWER if self.until is None else self.until - before
        try:
            quorum = agent.quorum(max(limit, 0.001))
        except Error as error:
            # Too many callers: that says nothing of quorum.
            busy = isinstance(error, Refused) and error.status in _LATER
            return busy and self.until is not None and time.monotonic() < self.until
        left = quorum.get("left_seconds")
        self.until = before + (_ANSWER if left is None else min(left, _ANSWER))
        was, self.since = self.since or quorum["since"], quorum["since"]
        return quorum["quorum"] == "held" and was == self.since and time.monotonic() < self.until

    def pause(self):
        return min(max((self.until - time.monotonic()) / 2, 0.02), _ASK)


class _Connection(http.client.HTTPConnection):
    def __init__(self, address, timeout):
        tcp = address.startswith("http://")
        super().__init__(urlsplit(address).netloc if tcp else "heartsay", timeout=timeout)
        self.path = None if tcp else address.removeprefix("unix://").removeprefix("unix:")

    def connect(self):
        if self.path is None:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _lines(connection, response, deadline):
    """Whole lines until the stream breaks off; what follows the last line end is no line."""
    while True:
        if connection.sock:
            connection.sock.settimeout(max(min(_SILENCE, deadline - time.monotonic()), 0.001))
        try:
            text = response.readline()
        except (OSError, http.client.HTTPException):
            return
        if not text.endswith(b"\n"):
            return
        yield json.loads(text)


def _filters(**filters):
    return [(key, v) for key, values in filters.items() for v in ([values] if isinstance(values, str) else values)]


_SILENCE = 30.0  # Twice as long as the agent is ever silent.
_RETRY = 0.2  # Between two tries to find an agent.
_ASK = 0.5  # How often the guard asks, and how long the agent may take to answer it.
_ANSWER = 2.0
_LATER = (503, 504)  # Asking again may help.
# The keeper knows of the command before it begins.
_START = 'echo $$ >&0; exec "$@" </dev/null'
_KEEP = '''read g; read _; [ "$g" ] || exit; exec 2>/dev/null; kill -TERM -"$g"; kill -CONT -"$g"; n=$0
while kill -0 -"$g" && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done; kill -KILL -"$g"'''

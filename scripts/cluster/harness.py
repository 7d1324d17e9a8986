"""Real agents to measure: started, watched, asked, and ended by process id.

Python 3.9 or later, standard library only. Used by measure-real.py, acceptance.py, bench-peers.py.
"""

import http.client
import json
import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = 4327


class Missed(Exception):
    """What was promised did not happen in time."""


class Impossible(Exception):
    """This machine lacks what the measurement needs."""


class Trouble(Exception):
    """The measurement itself went wrong."""


class Lab:
    """Everything that one experiment starts; leaving it ends all of it."""

    def __init__(self, binary):
        self.binary = binary
        self.dir = Path(tempfile.mkdtemp(prefix="heartsay-lab-"))
        # Own loopback addresses, so that nothing else on this machine is met.
        self.net = random.randrange(20, 220), random.randrange(200)
        self.cluster = f"lab-{os.getpid()}-{random.randrange(1 << 32):08x}"
        self.agents = []
        self.watches = []
        self.namespaces = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for watch in self.watches:
            watch.close()
        for agent in self.agents:
            agent.kill(wait=False)
        for agent in self.agents:
            agent.kill()
        if self.namespaces:
            self.namespaces.down()
        shutil.rmtree(self.dir, ignore_errors=True)

    def another(self):
        """A fresh one, for the next size."""
        return Lab(self.binary)

    def host(self, i):
        """Loopback address number `i`, from 1."""
        block, last = divmod(i - 1, 250)
        return f"127.{self.net[0]}.{self.net[1] + block}.{last + 1}"

    def address(self, i, port=PORT):
        return f"{self.host(i)}:{port}"

    def agent(self, name, bind, seeds, **more):
        """One agent, not started yet."""
        agent = Agent(self, name, bind, seeds, **more)
        self.agents.append(agent)
        return agent

    def members(self, count, **more):
        """`count` agents that have the first and the last as seeds, not started yet."""
        seeds = [self.address(1), self.address(count)]
        return [self.agent(f"m{i}", self.address(i), seeds, **more) for i in range(1, count + 1)]

    def watch(self, agent, since_now=False):
        """Follows what `agent` sees, from as soon as it answers; or only what changes from now on."""
        watch = Watch(agent, agent.get("/v1/members?status=left")["index"] if since_now else None)
        self.watches.append(watch)
        return watch

    def formed(self, count, settle, paced=False, **more):
        """`count` agents with full views, `settle` seconds old, and a watch on each. With `paced` they start one after
        the other and are watched from then on: a thousand streams that tell of a thousand members each are a million
        lines, for which this program would need minutes."""
        agents = self.members(count, **more)
        if paced:
            self.start_paced(agents)
            watches = [self.watch(agent, since_now=True) for agent in agents]
        else:
            for agent in agents:
                agent.start()
            watches = [self.watch(agent) for agent in agents]
            follow(watches, lambda watch: watch.alive() == count, 30, "full views everywhere")
        idle(watches, settle)
        return agents, watches

    def start_paced(self, agents, log=False):
        """Starts agents as fast as the machine can and waits, with questions that cost them
        nothing, until each knows all the others; the moment of the last start."""
        starting = []
        for i, agent in enumerate(agents, 1):
            moment = agent.start()
            starting.append(agent)
            while len(starting) >= ABREAST:
                starting = [each for each in starting if not each.socket.exists()]
                time.sleep(0.002)
            if log and i % 100 == 0:
                say(f"    {i} started")
        deadline = time.monotonic() + 60 + 0.2 * len(agents)
        for agent in agents:
            agent.answers(60)
            while (known := agent.get("/v1/stats")["members"]) < len(agents):
                if time.monotonic() > deadline:
                    raise Missed(f"no full views in time: {agent.name} knows {known} of {len(agents)}")
                time.sleep(0.02)
        return moment


class Agent:
    """One `heartsay agent`, perhaps inside a network namespace."""

    def __init__(self, lab, name, bind, seeds, cluster=None, flags=(), namespace=None, label=None):
        self.name = name
        self.bind = bind
        home = lab.dir / (label or name)
        self.socket = home.with_suffix(".sock")
        self.log = home.with_suffix(".log")
        self.process = None
        enter = ["ip", "netns", "exec", namespace] if namespace else []
        self.command = [
            *enter, lab.binary, "agent", "--cluster", cluster or lab.cluster, "--name", name, "--bind", bind,
            "--state-dir", str(home), "--socket", str(self.socket),
            *(part for seed in seeds for part in ("--seed", seed)), *flags,
        ]

    def start(self, **more):
        """Starts it; the moment just before."""
        moment = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env=environment(), **more,
            )
        return moment

    def signal(self, which):
        self.process.send_signal(which)
        return time.monotonic()

    def kill(self, wait=True):
        """SIGKILL, also to one that is stopped; the moment of it."""
        moment = time.monotonic()
        if self.process and self.process.poll() is None:
            self.process.kill()
            moment = time.monotonic()
            if wait:
                self.process.wait()
        return moment

    def get(self, path):
        """The JSON at `path`."""
        connection = http.client.HTTPConnection("agent", timeout=10)
        connection.sock = connect(self.socket)
        try:
            connection.request("GET", path)
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def answers(self, seconds=10):
        """Waits until it answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return self.get("/livez")
            except OSError:
                time.sleep(0.02)
        raise Trouble(f"{self.name} does not answer:\n{self.tail()}")

    def tail(self):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]


class Watch:
    """The view of one agent, kept up to date by its event stream."""

    def __init__(self, agent, since=None):
        self.agent = agent
        self.since = since
        self.stream = None
        self.restart()

    def restart(self):
        """Forgets everything and follows anew, for instance after its agent was started again."""
        self.close()
        self.buffer = b""
        self.lines = b""
        self.body = False
        self.view = {}
        self.quorum = None
        self.events = []

    def open(self):
        """Connects if the agent listens by now."""
        try:
            stream = connect(self.agent.socket)
        except OSError:
            return False
        query = "" if self.since is None else f"?since={self.since}"
        stream.sendall(f"GET /v1/watch{query} HTTP/1.1\r\nHost: agent\r\n\r\n".encode())
        stream.setblocking(False)
        self.stream = stream
        return True

    def close(self):
        if self.stream:
            self.stream.close()
            self.stream = None

    def read(self):
        """Takes in what has come; False when the stream has ended."""
        now = time.monotonic()
        try:
            data = self.stream.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.buffer += data
        if not self.body:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return bool(data)
            if b" 200 " not in head.splitlines()[0]:
                raise Trouble(f"{self.agent.name} refuses to be watched: {head!r}")
            self.body, self.buffer = True, rest
        while True:
            size, found, rest = self.buffer.partition(b"\r\n")
            if not found or len(rest) < int(size, 16) + 2:
                break
            chunk, self.buffer = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
            self.lines += chunk
        *lines, self.lines = self.lines.split(b"\n")
        for line in lines:
            if line.strip():
                self.take(now, json.loads(line))
        return bool(data)

    def take(self, now, event):
        self.events.append((now, event))
        kind = event["type"]
        if kind == "snapshot":
            self.view = {m["name"]: (m["status"], m["generation"]) for m in event["members"]}
        elif kind == "member-forgotten":
            self.view.pop(event["name"], None)
        elif kind.startswith("member-"):
            self.view[event["name"]] = (event["status"], event["generation"])
        if event.get("quorum"):
            self.quorum = event["quorum"]["quorum"]

    def stamped(self, fits, act):
        """When the agent itself says that the last event came which `fits`: seconds after the act. What it says
        is not late when this program is, which has to share the machine with all agents."""
        stamps = [event["time"] for moment, event in self.events if moment >= act and fits(event)]
        if not stamps:
            return None
        last = datetime.strptime(stamps[-1], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
        return last - (act + time.time() - time.monotonic())

    def status(self, name):
        return self.view.get(name, (None, 0))[0]

    def generation(self, name):
        return self.view.get(name, (None, 0))[1]

    def alive(self):
        return sum(status == "alive" for status, _ in self.view.values())

    def count(self, kind, names=None, since=0.0):
        """How many events of this type about these members since that moment."""
        return sum(
            event["type"] == kind and (names is None or event.get("name") in names)
            for moment, event in self.events
            if moment >= since
        )


class Namespaces:
    """A network of its own for `count` agents, made by netns.sh."""

    def __init__(self, lab, count):
        self.prefix = f"hs{os.getpid()}"
        self.env = {**os.environ, "HEARTSAY_NETNS": self.prefix, "HEARTSAY_NETNS_DIR": str(lab.dir / "netns")}
        self.run("net", str(count))
        lab.namespaces = self

    def run(self, *verb):
        """One verb of netns.sh; the moment before it."""
        moment = time.monotonic()
        done = subprocess.run([ROOT / "scripts/cluster/netns.sh", *verb], env=self.env, capture_output=True, text=True)
        if done.returncode == 3:
            raise Impossible(done.stderr.strip())
        if done.returncode != 0:
            raise Trouble(f"netns.sh {' '.join(verb)}: {done.stderr.strip()}")
        return moment

    def down(self):
        self.run("down")

    def member(self, lab, i, count, flags):
        """Agent number `i` of `count` in its namespace, not started yet."""
        seeds = [f"10.77.0.{seed}:{PORT}" for seed in (1, count)]
        namespace = f"{self.prefix}-{i}"
        return lab.agent(f"m{i}", f"10.77.0.{i}:{PORT}", seeds, flags=flags, namespace=namespace)


class Island:
    """One network namespace with nothing but a loopback device, on which packets can be dropped."""

    def __init__(self, lab):
        self.name = f"hs{os.getpid()}-island"
        missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
        if os.geteuid() != 0 or missing:
            raise Impossible("dropping packets needs root, iproute2 and nftables")
        done = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if done.returncode != 0:
            raise Impossible(f"no network namespaces here: {done.stderr.strip()}")
        lab.namespaces = self
        self.inside("ip", "link", "set", "lo", "up")
        self.filter("add table ip heartsay",
                    "add chain ip heartsay input { type filter hook input priority 0 ; }")

    def silence(self, agent):
        """Drops what comes from this agent's host and what goes to it; the moment."""
        host = agent.bind.rpartition(":")[0]
        return self.filter(*(f"add rule ip heartsay input ip {end} {host} drop" for end in ("saddr", "daddr")))

    def lose(self, percent):
        """Drops this share of all datagrams; the moment."""
        return self.filter(f"add rule ip heartsay input numgen random mod 100 < {percent} drop")

    def heal(self):
        return self.filter("flush chain ip heartsay input")

    def filter(self, *rules):
        moment = time.monotonic()
        self.inside("nft", "\n".join(rules))
        return moment

    def rules(self):
        """The filter as it is, with its counters."""
        return self.inside("nft", "list table ip heartsay")

    def inside(self, *command):
        done = subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise Impossible(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def down(self):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


def follow(watches, predicate, seconds, what):
    """The moment at which `predicate` first held for each watch, in their order."""
    moments = {}
    for watch in watches:
        if watch.stream and predicate(watch):
            moments[watch] = time.monotonic()

    def note(watch):
        if watch not in moments and predicate(watch):
            moments[watch] = time.monotonic()
        return len(moments) == len(watches)

    if len(moments) < len(watches) and not pump(watches, note, seconds):
        late = [watch for watch in watches if watch not in moments]
        views = "; ".join(f"{watch.agent.name}: {summary(watch)}" for watch in late[:4])
        raise Missed(f"not within {seconds} s: {what}; missing at {len(late)} of {len(watches)}: {views}")
    return [moments[watch] for watch in watches]


def idle(watches, seconds):
    """Lets time pass while the streams are read."""
    pump(watches, lambda _: False, seconds)


def pump(watches, done, seconds):
    """Reads the streams until `done(watch)` says so after one of them moved; whether it did."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        waiting = []
        for watch in watches:
            if watch.stream:
                selector.register(watch.stream, selectors.EVENT_READ, watch)
            else:
                waiting.append(watch)
        while (left := deadline - time.monotonic()) > 0:
            for watch in list(waiting):
                if watch.open():
                    waiting.remove(watch)
                    selector.register(watch.stream, selectors.EVENT_READ, watch)
            patience = min(left, 0.01) if waiting else left
            if not selector.get_map():
                time.sleep(patience)
                continue
            for key, _ in selector.select(patience):
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    key.data.close()
                if done(key.data):
                    return True
    return False


def summary(watch):
    """`{'alive': 7, 'down': 3}`."""
    counts = {}
    for status, _ in watch.view.values():
        counts[status] = counts.get(status, 0) + 1
    return counts


def connect(path):
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(10)
        stream.connect(str(path))
    except OSError:
        stream.close()
        raise
    return stream


def memory_available():
    """Bytes that programs may still take without swapping."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def key_file(lab, name):
    path = lab.dir / name
    subprocess.run([lab.binary, "keygen", "--out", path], check=True, stdout=subprocess.DEVNULL)
    return path


def shown(values):
    if isinstance(values, dict):
        return ", ".join(f"{k} {v}" for k, v in sorted(values.items()))
    return ", ".join(str(value) for value in sorted(values))


def environment():
    """Ours, without anything that would configure an agent."""
    private = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM")
    return {k: v for k, v in os.environ.items() if not k.startswith("HEARTSAY_") and k not in private}


def settle_arguments(parser, args):
    """The binary must be there; without a seed one is drawn, and said."""
    if not os.access(args.binary, os.X_OK):
        parser.error(f"no {args.binary}; build it with: cargo build --release")
    args.binary = str(Path(args.binary).resolve())
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    say(f"seed {args.seed}, {args.binary}")
    args.chance = random.Random(args.seed)


def say(text):
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)


def end_on_signals():
    """A signal ends the script the orderly way: everything started is ended too."""

    def stop(number, _):
        sys.exit(128 + number)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, stop)


# Agents that may be starting at the same time when there are many.
ABREAST = 8

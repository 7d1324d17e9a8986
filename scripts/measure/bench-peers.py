#!/usr/bin/env python3
"""heartsay and serf side by side, on this machine and in one run. See bench-peers.sh.

Both run with their defaults on loopback addresses, with the first agent as the one to join. A time is from the
act to the moment at which an observer says so: heartsay on its event stream, serf in its log (before it
collects events for its handlers). Bytes are those that nftables counts, IP headers and TCP included.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

import report as reporting
from harness import ROOT, Agent, Impossible, Island, Lab, Missed, Trouble, end_on_signals, environment, follow, idle, say, settle_arguments


def main():
    args = arguments()
    end_on_signals()
    rows = {}
    for fleet in (Heartsay, Serf):
        for measure in (bootstrap, crash, vanish, rest):
            say(f"--- {fleet.title}: {measure.__doc__.splitlines()[0]}")
            with Lab(args.binary) as lab:
                try:
                    island = Island(lab)
                except Impossible as why:
                    say(f"    {why}")
                    island = None
                try:
                    found = measure(lambda lab_=lab, island_=island: fleet(lab_, args.agents, island_), args)
                except (Missed, Trouble) as trouble:
                    found = {f"{measure.__name__}": str(trouble)}
            for what, value in found.items():
                say(f"    {what}: {text(value)}")
                rows.setdefault(what, {})[fleet.title] = value
    if args.json:
        about = {**reporting.machine(args.binary), "serf": version(), "agents": args.agents}
        print(json.dumps({"machine": about, "rows": [{"what": what, **row} for what, row in rows.items()]}, indent=1))
    else:
        table(rows, args)


def bootstrap(make, args):
    """All are started at once."""
    times = []
    for _ in range(args.repeat):
        fleet = make()
        last = fleet.start()
        times.append(max(fleet.full()) - last)
        fleet.end()
    return {"full views after the last start": spread(times)}


def crash(make, args):
    """A process is killed."""
    fleet = make().formed(args.settle)
    times = []
    for victim in fleet.victims(args):
        others = fleet.without(victim)
        idle(others, args.chance.uniform(0.5, 1.5))
        killed = victim.kill()
        moments = follow(others, lambda w: w.status(victim.name) == "down", 90, f"{victim.name} is down")
        times += [moment - killed for moment in moments]
        fleet.revive(victim)
    return {"a process is killed: down at each survivor": spread(times)}


def vanish(make, args):
    """A host falls silent."""
    fleet = make()
    if not fleet.island:
        return {}
    fleet.formed(args.settle)
    times = []
    for victim in fleet.victims(args):
        others = fleet.without(victim)
        idle(others, args.chance.uniform(0.5, 1.5))
        cut = fleet.island.silence(victim)
        moments = follow(others, lambda w: w.status(victim.name) == "down", 90, f"{victim.name} is down")
        times += [moment - cut for moment in moments]
        fleet.island.heal()
        # Some never find back by themselves.
        victim.kill()
        fleet.revive(victim)
    return {"a host falls silent: down at each other": spread(times)}


def rest(make, args):
    """Nothing happens."""
    fleet = make().formed(max(args.settle, 20))
    if fleet.island:
        fleet.island.filter("add rule ip heartsay input counter")
    before = [reporting.process(agent.process.pid) for agent in fleet.agents]
    idle(fleet.watches, args.seconds)
    after = [reporting.process(agent.process.pid) for agent in fleet.agents]
    found = {
        "at rest: CPU per agent, %": round(100 * statistics.mean(reporting.rates(before, after, "cpu")), 3),
        "at rest: resident memory per agent, MiB": round(statistics.mean(each["rss"] for each in after) / 2**20, 1),
        "at rest: of it private, MiB": round(statistics.mean(each["private"] for each in after) / 2**20, 1),
    }
    if fleet.island:
        counted = int(re.search(r"counter packets \d+ bytes (\d+)", fleet.island.rules()).group(1))
        span = statistics.mean(b["at"] - a["at"] for a, b in zip(before, after))
        found["at rest: sent per agent, B/s"] = round(counted / span / len(fleet.agents), 1)
    return found


class Fleet:
    """So many agents of one kind, and a watch on each."""

    def __init__(self, lab, count, island):
        self.island = island
        self.agents = self.members(lab, count, island.name if island else None)
        self.watches = [self.watch(lab, agent) for agent in self.agents]

    def start(self):
        """Starts all; the moment of the last start."""
        for agent in self.agents:
            last = agent.start()
        return last

    def full(self, seconds=120):
        count = len(self.agents)
        return follow(self.watches, lambda w: w.alive() == count, seconds, "full views everywhere")

    def formed(self, settle):
        self.start()
        self.full()
        idle(self.watches, settle)
        return self

    def victims(self, args):
        # Not the first, whom all others join.
        return args.chance.sample(self.agents[1:], min(args.repeat, len(self.agents) // 2))

    def without(self, agent):
        return [w for w in self.watches if w.agent is not agent]

    def revive(self, agent):
        next(w for w in self.watches if w.agent is agent).restart()
        agent.start()
        self.full()
        idle(self.watches, 3)

    def end(self):
        for watch in self.watches:
            watch.close()
        for agent in self.agents:
            agent.kill()


class Heartsay(Fleet):
    title = "heartsay"

    def members(self, lab, count, namespace):
        seeds = [lab.address(1)]
        return [lab.agent(f"m{i}", lab.address(i), seeds, namespace=namespace) for i in range(1, count + 1)]

    def watch(self, lab, agent):
        return lab.watch(agent)


class Serf(Fleet):
    title = "serf"

    def members(self, lab, count, namespace):
        agents = [SerfAgent(lab, i, namespace) for i in range(1, count + 1)]
        lab.agents += agents
        return agents

    def watch(self, lab, agent):
        lab.watches.append(agent.watch)
        return agent.watch


class SerfAgent(Agent):
    """One `serf agent`; its log goes to a watch."""

    def __init__(self, lab, i, namespace):
        self.name = f"m{i}"
        self.bind = f"{lab.host(i)}:{SERF_PORT}"
        self.process = None
        enter = ["ip", "netns", "exec", namespace] if namespace else []
        self.command = [
            *enter, "serf", "agent", f"-node={self.name}", f"-bind={self.bind}", f"-rpc-addr={lab.host(i)}:7373",
            *([] if i == 1 else [f"-retry-join={lab.host(1)}:{SERF_PORT}", "-retry-interval=1s"]),
        ]
        self.watch = SerfWatch(self)

    def start(self):
        moment = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.watch.stream = self.process.stdout
        return moment


class SerfWatch:
    """What one serf says that it sees, in the words of a `Watch`."""

    def __init__(self, agent):
        self.agent = agent
        self.stream = None
        self.restart()

    def restart(self):
        self.close()
        self.rest = b""
        self.view = {}

    def open(self):
        return self.stream is not None

    def close(self):
        if self.stream:
            self.stream.close()
            self.stream = None

    def read(self):
        try:
            data = os.read(self.stream.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            found = re.search(rb"serf: EventMember(Join|Failed|Leave|Reap): (\S+)", line)
            if found:
                self.view[found.group(2).decode()] = STATUS[found.group(1)]
        return bool(data)

    def status(self, name):
        return self.view.get(name)

    def alive(self):
        return sum(status == "alive" for status in self.view.values())


def spread(times):
    return {"median": round(statistics.median(times), 2), "worst": round(max(times), 2), "count": len(times)}


def text(value):
    if isinstance(value, dict):
        return f"median {value['median']:.2f} s, worst {value['worst']:.2f} s"
    return "-" if value is None else str(value)


def table(rows, args):
    lines = [(f"{args.agents} agents each", Heartsay.title, f"{Serf.title} {version()}")]
    lines += [(what, text(row.get(Heartsay.title)), text(row.get(Serf.title))) for what, row in rows.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(2)]
    for line in lines:
        print("  ".join([line[0].ljust(widths[0]), line[1].ljust(widths[1]), line[2]]).rstrip())


def version():
    return subprocess.run(["serf", "version"], capture_output=True, text=True, check=True).stdout.split("\n")[0].split()[-1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    parser.add_argument("--binary", default=default, help="the heartsay to measure (default: the release build)")
    parser.add_argument("--agents", type=int, default=16, help="agents of each kind, 4 to 128 (16)")
    parser.add_argument("--repeat", type=int, default=3, help="boots, kills, silences (3)")
    parser.add_argument("--settle", type=float, default=10, help="seconds before the first act (10)")
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure the cost at rest (30)")
    parser.add_argument("--seed", type=int, help="of the choice of victims and moments (random)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    args = parser.parse_args()
    if not 4 <= args.agents <= 128:
        parser.error("--agents is 4 to 128")
    if not shutil.which("serf"):
        say("SKIPPED: serf is not installed (apt install serf)")
        sys.exit(0)
    settle_arguments(parser, args)
    return args


SERF_PORT = 7946
STATUS = {b"Join": "alive", b"Failed": "down", b"Leave": "left", b"Reap": "left"}

if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures on real agents, on this machine, what heartsay promises.

    cargo build --release
    scripts/acceptance.py                          everything, about six minutes
    scripts/acceptance.py --only crash --repeat 20 one experiment
    scripts/acceptance.py --only idle --agents 128 what an agent costs
    scripts/acceptance.py --json > result.json

Agents run on loopback addresses of their own (127.x.y.z), those of `partition` in
network namespaces (root, iproute2, nftables; skipped otherwise). Times are from the act to the
moment at which the line arrives on the event stream of each observer. The exit code is 1 if a
target is missed, 2 if something could not be measured. Everything started is ended, by process id.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import refusals
from harness import (
    ROOT, Impossible, Lab, Missed, Namespaces, Trouble, end_on_signals, follow, idle, key_file, say, shown,
)

# IPv4 and UDP headers of each datagram.
HEADERS = 28


def main():
    args = arguments()
    end_on_signals()
    rows = []
    broken = False
    for name in args.only or EXPERIMENTS:
        say(f"--- {name}: {EXPERIMENTS[name].__doc__.splitlines()[0]}")
        report = Report(name, rows)
        try:
            with Lab(args.binary) as lab:
                EXPERIMENTS[name](lab, report, args)
        except Missed as missed:
            report.row("in time", str(missed), "yes", False)
        except Impossible as why:
            report.row("everything", f"SKIPPED: {why}")
        except Trouble as trouble:
            report.row("measured", f"not measured: {trouble}", "", False)
            broken = True
    if args.json:
        print(json.dumps({"machine": machine(args.binary), "rows": rows}, indent=1))
    else:
        table(rows)
    sys.exit(2 if broken else int(any(row["ok"] is False for row in rows)))


def bootstrap(lab, report, args):
    """All agents are started at once: full views everywhere."""
    times = []
    for _ in range(args.repeat):
        with Lab(args.binary) as lab:
            agents = lab.members(args.agents)
            watches = [lab.watch(agent) for agent in agents]
            for agent in agents:
                last = agent.start()
            times.append(max(follow(watches, lambda w: w.alive() == args.agents, 30, "full views")) - last)
    report.times(f"{args.agents} agents, full views after the last start, slowest agent", times, worst=2.0)


def crash(lab, report, args):
    """SIGKILL of one agent, then a restart under the same name."""
    agents, watches = lab.formed(args.agents, args.settle)
    suspect, down, back = [], [], []
    entries = set()
    for victim in args.chance.sample(agents, min(args.repeat, len(agents))):
        watch = next(w for w in watches if w.agent is victim)
        others = [w for w in watches if w is not watch]
        name, before = victim.name, watch.generation(victim.name)
        watch.close()
        killed = victim.kill()
        down += [t - killed for t in follow(others, lambda w: w.status(name) == "down", 30, f"{name} is down")]
        suspect += [first(w, name, ("suspect", "down"), killed) for w in others]
        idle(others, 1)
        watch.restart()
        started = victim.start()
        renewed = follow(
            others, lambda w: w.status(name) == "alive" and w.generation(name) > before, 30, f"{name} is back"
        )
        back.append(max(renewed) - started)
        follow([watch], lambda w: w.alive() == args.agents, 30, "the restarted agent has a full view")
        idle(watches, 3)
        entries |= {len(w.view) for w in watches} | {len(agent.get("/v1/members")["members"]) for agent in agents}
    report.times(f"suspect or down at {len(watches) - 1} survivors, {args.repeat} kills", suspect)
    report.times(f"down at {len(watches) - 1} survivors, {args.repeat} kills", down, median=5.0)
    report.times("restarted: new generation everywhere", back, worst=2.0)
    report.row("entries in every view after the restarts", shown(entries), args.agents, entries == {args.agents})


def leave(lab, report, args):
    """SIGTERM to one agent: a graceful good-bye."""
    agents, watches = lab.formed(args.agents, args.settle)
    times, downs, codes = [], 0, set()
    for leaver in args.chance.sample(agents, min(args.repeat, len(agents))):
        watch = next(w for w in watches if w.agent is leaver)
        others = [w for w in watches if w is not watch]
        name = leaver.name
        watch.close()
        left = leaver.signal(signal.SIGTERM)
        times += [t - left for t in follow(others, lambda w: w.status(name) == "left", 30, f"{name} has left")]
        codes.add(leaver.process.wait(timeout=10))
        idle(others, 5)
        downs += sum(w.count("member-down", {name}, left) for w in others)
        watch.restart()
        leaver.start()
        follow(watches, lambda w: w.alive() == args.agents, 30, "everybody is back")
        idle(watches, 1)
    report.times(f"left at {len(watches) - 1} others, {args.repeat} good-byes", times, worst=1.0)
    report.row("called down by somebody", downs, 0, downs == 0)
    report.row("exit codes of those who left", shown(codes), 0, codes == {0})


def pause(lab, report, args):
    """A quarter of the agents is stopped for one second."""
    agents, watches = lab.formed(args.agents, args.settle)
    downs = suspicions = 0
    rounds = max(args.repeat, 3)
    for _ in range(rounds):
        chosen = args.chance.sample(agents, max(1, args.agents // 4))
        began = time.monotonic()
        for agent in chosen:
            agent.signal(signal.SIGSTOP)
        idle([w for w in watches if w.agent not in chosen], 1)
        for agent in chosen:
            agent.signal(signal.SIGCONT)
        idle(watches, 6)
        downs += sum(w.count("member-down", since=began) for w in watches)
        suspicions += sum(w.count("member-suspect", since=began) for w in watches)
    whole = sum(w.alive() == args.agents for w in watches)
    report.row(f"called down, {rounds} times {len(chosen)} stopped for 1 s", downs, 0, downs == 0)
    report.row("suspicions meanwhile, over all observers", suspicions)
    report.row("full views afterwards", f"{whole} of {args.agents}", "all", whole == args.agents)


def partition(lab, report, args):
    """Ten agents in namespaces, three cut off, with --expected 10; then one host alone."""
    net = Namespaces(lab, 10)
    agents = [net.member(lab, i, 10, ["--expected", "10"]) for i in range(1, 11)]
    for agent in agents:
        agent.start()
    watches = [lab.watch(agent) for agent in agents]
    follow(watches, lambda w: w.alive() == 10 and w.quorum == "held", 30, "ten agents, quorum held")
    idle(watches, args.settle)
    seven, three = watches[:7], watches[7:]
    cut = net.run("cut", "8,9,10")
    lost = follow(three, lambda w: w.quorum == "lost", args.cut, "the three say lost")
    away = ("m8", "m9", "m10")
    follow(seven, lambda w: all(w.status(name) == "down" for name in away), args.cut, "the three are down")
    gone = [max(first(w, name, ("down",), cut) for name in away) for w in seven]
    idle(watches, max(0.0, args.cut - (time.monotonic() - cut)))
    wobble = sum(
        moment >= cut and event["type"] == "quorum" and event["quorum"]["quorum"] != "held"
        for w in seven
        for moment, event in w.events
    )
    for side, number, word in ((three, "three", "lost"), (seven, "seven", "held")):
        said = {w.agent.get("/v1/quorum")["quorum"] for w in side}
        report.row(f"the {number} after {args.cut:g} s", shown(said), word, said == {word})
    report.row("the seven ever without quorum", wobble, 0, wobble == 0)
    report.times("the three know that they lost quorum", [t - cut for t in lost])
    report.times("the three are down at the seven", gone)
    report.row("lost is known before anybody is called down", "yes" if max(lost) - cut <= min(gone) else "no")
    healed = net.run("heal")
    one = follow(watches, lambda w: w.alive() == 10, 60, "one view")
    report.times("one view after the heal", [t - healed for t in one], worst=10.0)
    held = follow(watches, lambda w: w.quorum == "held", 60, "quorum held everywhere")
    report.times("quorum held everywhere after the heal", [t - healed for t in held])
    after = time.monotonic()
    idle(watches, 5)
    downs = sum(w.count("member-down", since=after) for w in watches)
    report.row("called down after that", downs, 0, downs == 0)
    silent, others = watches[4], watches[:4] + watches[5:]
    cut = net.run("cut", "5")
    down = follow(others, lambda w: w.status("m5") == "down", 30, "the silent host is down")
    suspect = [first(w, "m5", ("suspect", "down"), cut) for w in others]
    report.times("suspect: one host falls silent, at nine others", suspect)
    report.times("down: one host falls silent, at nine others", [t - cut for t in down])
    healed = net.run("heal")
    back = follow(watches, lambda w: w.alive() == 10, 60, "the silent host is back")
    report.times("it is back after the heal", [t - healed for t in back])
    report.row("called down by the silent host", silent.count("member-down", since=cut))


def cost(lab, report, args):
    """What a quiet cluster costs each agent, without a key."""
    flags = []
    if args.key:
        flags = ["--key-file", str(key_file(lab, "key"))]
    agents = lab.members(args.agents, flags=flags)
    for agent in agents:
        agent.start()
        # As many at once as the machine can start.
        time.sleep(0.02 if args.agents > 32 else 0)
    for agent in agents:
        agent.answers(60)
    deadline = time.monotonic() + 60
    while any(len(agent.get("/v1/members?status=alive")["members"]) < args.agents for agent in agents):
        if time.monotonic() > deadline:
            raise Missed("not within 60 s: full views everywhere")
        time.sleep(0.5)
    time.sleep(max(args.settle, 20))
    before = [sample(agent) for agent in agents]
    time.sleep(args.seconds)
    after = [sample(agent) for agent in agents]
    spans = [b["at"] - a["at"] for a, b in zip(before, after)]

    def rate(what):
        return [(b[what] - a[what]) / span for a, b, span in zip(before, after, spans)]

    sent = [bytes_ + HEADERS * count for bytes_, count in zip(rate("bytes_sent"), rate("datagrams_sent"))]
    cpu = [100 * each for each in rate("cpu")]
    rss = [each["rss"] / 2**20 for each in after]
    n, seconds = args.agents, f"{args.seconds:g} s"
    report.row(f"N={n}, {seconds}: sent per agent, with headers", spread(sent, "B/s"), value=statistics.mean(sent))
    report.row(f"N={n}, {seconds}: datagrams sent per agent", spread(rate("datagrams_sent"), "/s"))
    report.row(f"N={n}, {seconds}: CPU per agent", spread(cpu, "%", 3), value=statistics.mean(cpu))
    report.row(f"N={n}: resident memory per agent", spread(rss, "MiB"), value=statistics.mean(rss))
    report.row(f"N={n}: of it private", spread([each["private"] / 2**20 for each in after], "MiB"))
    verdicts = sum(b["verdicts"] - a["verdicts"] for a, b in zip(before, after))
    report.row("verdicts meanwhile", verdicts, 0, verdicts == 0)


EXPERIMENTS = {
    "bootstrap": bootstrap,
    "crash": crash,
    "leave": leave,
    "pause": pause,
    "partition": partition,
    "idle": cost,
    "clusters": refusals.clusters,
    "hostile": refusals.hostile,
    "startup": refusals.startup,
}


class Report:
    """Rows of one experiment, told as they come."""

    def __init__(self, experiment, rows):
        self.experiment = experiment
        self.rows = rows

    def row(self, what, measured, target=None, ok=None, value=None):
        row = {"experiment": self.experiment, "what": what, "measured": measured, "target": target, "ok": ok}
        if value is not None:
            row["value"] = value
        self.rows.append(row)
        say(f"    {what}: {measured}" + ("" if ok is None else "  ok" if ok else "  MISSED"))

    def times(self, what, seconds, median=None, worst=None):
        """A distribution; the target is for its median or for its worst."""
        middle, most = statistics.median(seconds), max(seconds)
        target, ok = None, None
        if median is not None:
            target, ok = f"median ≤ {median:g} s", middle <= median
        if worst is not None:
            target, ok = f"≤ {worst:g} s", most <= worst
        measured = f"median {middle:.2f} s, max {most:.2f} s, n={len(seconds)}"
        self.row(what, measured, target, ok, value={"median": middle, "max": most, "count": len(seconds)})

def first(watch, name, statuses, since):
    """Seconds from `since` until this watch first said one of these about `name`."""
    return next(
        moment - since
        for moment, event in watch.events
        if moment >= since and event.get("name") == name and event.get("status") in statuses
    )


def sample(agent):
    """Counters of one agent now; CPU in seconds since its start, memory in bytes."""
    stats = agent.get("/v1/stats")
    pid = agent.process.pid
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    memory = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
    return {
        "at": time.monotonic(),
        "bytes_sent": stats["bytes_sent"],
        "datagrams_sent": stats["datagrams_sent"],
        "verdicts": stats["verdicts"],
        "cpu": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "rss": int(memory["Rss"]) * 1024,
        "private": (int(memory["Private_Clean"]) + int(memory["Private_Dirty"])) * 1024,
    }







def spread(values, unit, digits=1):
    return (f"mean {statistics.mean(values):.{digits}f} {unit}, "
            f"{min(values):.{digits}f} .. {max(values):.{digits}f}")


def machine(binary):
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"cores": os.cpu_count(), "kernel": os.uname().release, "version": version}


def table(rows):
    columns = ("experiment", "what", "target")
    cells = [["", *columns, "measured"]]
    for row in rows:
        verdict = {None: "", True: "ok", False: "MISSED"}[row["ok"]]
        texts = ("" if row[name] is None else str(row[name]) for name in (*columns, "measured"))
        cells.append([verdict, *texts])
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    for line in cells:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    parser.add_argument("--binary", default=default, help="the heartsay to measure (default: the release build)")
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS), help="this one; repeat for more")
    parser.add_argument("--agents", type=int, default=32, help="size of the clusters on loopback, 4 to 250 (32)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of crash, leave, bootstrap (5)")
    parser.add_argument("--settle", type=float, default=10, help="seconds before the first act (10)")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure cost (60)")
    parser.add_argument("--cut", type=float, default=30, help="seconds of the partition (30)")
    parser.add_argument("--key", action="store_true", help="measure cost with encryption")
    parser.add_argument("--seed", type=int, default=None, help="of the choice of victims (random)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    args = parser.parse_args()
    if not 4 <= args.agents <= 250:
        parser.error("--agents is 4 to 250")
    if not os.access(args.binary, os.X_OK):
        parser.error(f"no {args.binary}; build it with: cargo build --release")
    args.binary = str(Path(args.binary).resolve())
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    say(f"seed {args.seed}, {args.binary}")
    args.chance = random.Random(args.seed)
    return args


if __name__ == "__main__":
    main()

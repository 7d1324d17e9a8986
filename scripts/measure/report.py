"""Rows of measurements, told as they come; the cost of a process. Used by measure-real.py, acceptance.py and bench-peers.py."""

import json
import math
import os
import re
import statistics
import subprocess
import time
from pathlib import Path

from harness import Impossible, Lab, Missed, Trouble, say

# IPv4 and UDP headers of each datagram.
HEADERS = 28


class Report:
    """The rows of one experiment."""

    def __init__(self, experiment, rows):
        self.experiment = experiment
        self.rows = rows

    def row(self, what, measured, target=None, ok=None, value=None):
        row = {"experiment": self.experiment, "what": what, "measured": measured, "target": target, "ok": ok}
        if value is not None:
            row["value"] = value
        self.rows.append(row)
        say(f"    {what}: {measured}" + ("" if ok is None else "  ok" if ok else f"  MISSED ({target})"))

    def none(self, what, count):
        """A count of mistakes, of which there should be none."""
        self.row(what, count, 0, count == 0, value=count)

    def times(self, what, seconds, **limits):
        """A distribution; limits are for its `median`, its `p99` or its `worst`."""
        if not seconds:
            return self.row(what, "nothing to measure", "some", False)
        value = {
            "median": statistics.median(seconds), "p99": quantile(seconds, 0.99), "worst": max(seconds),
            "count": len(seconds),
        }
        target = ", ".join(f"{name} ≤ {limit:g} s" for name, limit in limits.items()) or None
        ok = all(value[name] <= limit for name, limit in limits.items()) if limits else None
        measured = (f"median {value['median']:.2f} s, p99 {value['p99']:.2f} s, worst {value['worst']:.2f} s, "
                    f"n={len(seconds)}")
        self.row(what, measured, target, ok, value={k: round(v, 4) for k, v in value.items()})

    def amounts(self, what, values, unit, digits=1, most=None):
        """A quantity of each agent; the limit is for the mean."""
        mean = statistics.mean(values)
        measured = f"mean {mean:.{digits}f} {unit}, {min(values):.{digits}f} .. {max(values):.{digits}f}"
        target, ok = (None, None) if most is None else (f"mean ≤ {most:g} {unit}", mean <= most)
        self.row(what, measured, target, ok, value={"mean": mean, "least": min(values), "most": max(values)})


def run(experiments, names, args):
    """Runs each experiment in a lab of its own, prints all rows; the exit code."""
    rows = []
    broken = False
    for name in names:
        say(f"--- {name}: {experiments[name].__doc__.splitlines()[0]}")
        report = Report(name, rows)
        try:
            with Lab(args.binary) as lab:
                experiments[name](lab, report, args)
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
    return 2 if broken else int(any(row["ok"] is False for row in rows))


def table(rows):
    """Target beside figure, in columns."""
    columns = ("experiment", "what", "target", "measured")
    cells = [["", *columns]]
    for row in rows:
        verdict = {None: "", True: "ok", False: "MISSED"}[row["ok"]]
        cells.append([verdict, *("" if row[name] is None else str(row[name]) for name in columns)])
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    for line in cells:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[4]]).rstrip())


def quantile(values, share):
    """The smallest value that is not exceeded by `share` of them."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine(binary):
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {"cores": os.cpu_count(), "kernel": os.uname().release, "version": version,
            "bytes": os.path.getsize(binary)}


def sample(agent):
    """Counters of one agent now, and what its process has cost; its memory as it was before it was asked, and after."""
    cost = process(agent.process.pid)
    stats = agent.get("/v1/stats")
    counters = {key: stats[key] for key in ("bytes_sent", "datagrams_sent", "verdicts")}
    guardians = [process(child) for child in children(agent.process.pid)]
    together = {"together": cost["rss"] + sum(each["rss"] for each in guardians)}
    return {**cost, **counters, **together, "asked": process(agent.process.pid)["rss"]}


def children(pid):
    """The guardian of an agent; an agent with hooks may have more."""
    return [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def process(pid):
    """What a process has cost: CPU in seconds since its start, how often it waited and woke, memory in bytes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    threads = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status")]
    waits = (re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE) for status in threads)
    memory = dict(re.findall(r"(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text()))
    return {
        "at": time.monotonic(),
        "cpu": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "wakes": sum(int(wait[1]) for wait in waits if wait),
        "rss": int(memory["Rss"]) * 1024,
        "share": int(memory["Pss"]) * 1024,
        "private": (int(memory["Private_Clean"]) + int(memory["Private_Dirty"])) * 1024,
    }


def rates(before, after, what):
    """Per second, of each process, between two samples."""
    return [(b[what] - a[what]) / (b["at"] - a["at"]) for a, b in zip(before, after)]


def sent(before, after):
    """Bytes per second with IP and UDP headers, of each agent, between two samples."""
    datagrams = rates(before, after, "datagrams_sent")
    return [bytes_ + HEADERS * count for bytes_, count in zip(rates(before, after, "bytes_sent"), datagrams)]

#!/usr/bin/env python3
"""Cuts of every shape in virtual time, and what each side says of quorum: the table of docs/quorum.md, section 5.

    scripts/partition-shapes.py                      everything, 20 seeds each; the large ones one seed
    scripts/partition-shapes.py --only hub --seeds 5

Everybody votes. The cut begins 30 s after the start and lasts 30 s. Times are in seconds after the cut, or after the
heal, over all seeds. Needs target/release/heartsay-sim (or $HEARTSAY_SIM). Exit code 1: a rule was broken, or somebody
was called down more than a second after the heal.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
from pathlib import Path

SIM = os.environ.get("HEARTSAY_SIM") or str(Path(__file__).resolve().parent.parent / "target/release/heartsay-sim")
LINE = re.compile(r"^ *([0-9.]+) +(\S+) +(.*)$")
# Who asks all the others where electors are many: drawn by name, so the same in every run (membership/src/quorum/service.rs).
HUBS = {12: "3 6 9", 32: "3 9 25", 128: "3 107 121"}

# How long each cut of one that flaps lasts, in seconds.
FLAP = 3


def main():
    args = arguments()
    broken = 0
    print("| shape | members | seeds | without a majority: `lost` | with one: ever `lost` | first `down` by one that holds | held again after the heal | called down after it | violations |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in shapes():
        if args.only and args.only not in shape.name:
            continue
        seeds = range(1, 1 + (1 if shape.nodes > 100 else args.seeds))
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            runs = list(pool.map(lambda seed: Run(shape, seed), seeds))
        print(row(shape, runs), flush=True)
        # Who flaps may be put out after the last heal, on purpose.
        broken += sum(run.violations + (0 if shape.flaps else run.late) for run in runs)
    sys.exit(1 if broken else 0)


class Shape:
    """Sides as lists of members' numbers; whoever is in none is on a side of the rest."""

    def __init__(self, name, nodes, *sides, sets=()):
        named = {m for side in sides for m in side}
        self.name, self.nodes, self.sets = name, nodes, list(sets)
        self.flaps = any("fault.0.on=" in text for text in sets)
        self.sides = [list(side) for side in sides] + [[m for m in range(nodes) if m not in named]]

    def flags(self):
        sides = ",".join("[" + ",".join(f'"n{m}"' for m in side) + "]" for side in self.sides)
        sets = ["protocol.expected=all", "duration=90s", "fault.0.for=30s", f"fault.0.sides=[{sides}]"]
        return [word for text in sets + self.sets for word in ("--set", text)]

    def majority(self):
        """Who is on a side that has one."""
        return {m for side in self.sides if 2 * len(side) > self.nodes for m in side}


def shapes():
    for nodes in (5, 10, 32, 128):
        yield Shape("half", nodes, range(nodes // 2))
        yield Shape("minority", nodes, range(nodes * 3 // 10 or 1))
    for nodes in (9, 32):
        yield Shape("three-way", nodes, range(nodes // 3), range(nodes // 3, 2 * nodes // 3))
    for nodes in (5, 32):
        yield Shape("one-way", nodes, range(nodes * 3 // 10 or 1), sets=["fault.0.one-way=true"])
        yield Shape("one isolated", nodes, [0])
    for nodes, drawn in HUBS.items():
        yield Shape("hub: all who ask for the others", nodes, [int(m) for m in drawn.split()])
    for nodes in (5, 10):
        # Who flaps is kept out for a while after the last heal, so no agreement is asked for.
        flaps = [f"fault.0.on={FLAP}s", "fault.0.off=4s", "check.liveness=false"]
        yield Shape("flapping, 3 s on and 4 s off", nodes, range(nodes * 3 // 10 or 1), sets=flaps)
    yield Shape("minority", 1000, range(300))


class Run:
    """What one seed's log says."""

    def __init__(self, shape, seed):
        few = {f"n{m}" for m in range(shape.nodes)} - {f"n{m}" for m in shape.majority()}
        self.lost, self.wobbled, self.first_down, self.held, self.late, self.violations = [], set(), None, [], 0, 0
        command = [SIM, "replay", "partition-30-70", "--nodes", str(shape.nodes), "--seed", str(seed), "--log", *shape.flags()]
        holds, waiting, cut, healed = set(), set(), None, None
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sim:
            for line in sim.stdout:
                match = LINE.match(line)
                if not match:
                    continue
                at, who, what = float(match[1]), match[2], match[3]
                if who == "*" and what.startswith("cut between"):
                    if what.endswith("begins"):
                        cut, healed, waiting = cut or at, None, set(few)
                    elif what.endswith("heals"):
                        healed = at
                elif what.startswith("quorum "):
                    word = what.split()[1].rstrip(":")
                    (holds.add if word == "Held" else holds.discard)(who)
                    if cut and word == "Lost":
                        if who not in few:
                            self.wobbled.add(who)
                        elif who in waiting:
                            self.lost.append(at - cut)
                            waiting.discard(who)
                    elif healed and word == "Held" and who in few:
                        self.held.append(at - healed)
                elif " down, now down" in what:
                    if cut and who in holds and self.first_down is None:
                        self.first_down = at - cut
                    # News of a verdict that was given before the heal may be under way for a moment.
                    self.late += healed is not None and at > healed + 1
                elif who == "s":
                    self.violations += 1
                    print(f"    seed {seed} of {shape.name}, {shape.nodes}: {line.strip()}", file=sys.stderr)
            if sim.wait() not in (0, 1):
                sys.exit(f"partition-shapes.py: {' '.join(command)} failed")
        if shape.flaps:
            # It is cut again and again; only the first time is timed.
            self.lost = [t for t in self.lost if t < FLAP]


def row(shape, runs):
    lost = [t for run in runs for t in run.lost]
    held = [t for run in runs for t in run.held]
    downs = [run.first_down for run in runs if run.first_down is not None]
    wobbled = sum(len(run.wobbled) for run in runs)
    majority = len(shape.majority()) * len(runs)
    cells = [
        shape.name, shape.nodes, len(runs), span(lost), f"{wobbled} of {majority}" if majority else "no such side",
        span(downs) if downs else "nobody", span(held), sum(run.late for run in runs), sum(run.violations for run in runs),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def span(times):
    return f"{min(times):.2f} to {max(times):.2f}" if times else "never"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="shapes whose name contains this")
    parser.add_argument("--seeds", type=int, default=20, help="of each shape of up to 100 members (20)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time (one per processor)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

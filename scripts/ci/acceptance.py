#!/usr/bin/env python3
"""Checks on real agents, on this machine, what they must do and what they must refuse.

    cargo build --release
    scripts/ci/acceptance.py                          everything, about two minutes
    scripts/ci/acceptance.py --only leave --repeat 20 one experiment
    scripts/ci/acceptance.py --json > result.json

Agents run on loopback addresses of their own (127.x.y.z). The exit code is 1 if something is not as
it should be, 2 if it could not be measured. Everything started is ended, by process id.
How fast agents are and what they cost: scripts/measure/measure-real.py.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("cluster", "measure")]

import refusals
import report as reporting
from harness import ROOT, end_on_signals, follow, idle, settle_arguments, shown


def main():
    args = arguments()
    end_on_signals()
    sys.exit(reporting.run(EXPERIMENTS, args.only or EXPERIMENTS, args))


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
        follow(watches, lambda w: w.alive() == args.agents, 30, "all are back")
        idle(watches, 1)
    report.times(f"left at {len(watches) - 1} others, {args.repeat} good-byes", times, worst=1.0)
    report.none("called down", downs)
    report.row("exit codes of those that left", shown(codes), 0, codes == {0})


EXPERIMENTS = {
    "leave": leave,
    "clusters": refusals.clusters,
    "hostile": refusals.hostile,
    "startup": refusals.startup,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    parser.add_argument("--binary", default=default, help="the heartsay to check (default: the release build)")
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS), help="this one; repeat for more")
    parser.add_argument("--agents", type=int, default=32, help="agents that say good-bye, 4 to 250 (32)")
    parser.add_argument("--repeat", type=int, default=5, help="good-byes (5)")
    parser.add_argument("--settle", type=float, default=5, help="seconds before the first good-bye (5)")
    parser.add_argument("--seed", type=int, default=None, help="of the choice of victims (random)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    args = parser.parse_args()
    if not 4 <= args.agents <= 250:
        parser.error("--agents is 4 to 250")
    settle_arguments(parser, args)
    return args


if __name__ == "__main__":
    main()

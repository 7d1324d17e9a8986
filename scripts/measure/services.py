#!/usr/bin/env python3
"""How soon every member knows that an agent, or a program with a service, was killed.

    cargo build --release -p heartsay
    scripts/measure/services.py                              32 agents, ten rounds of each kind
    scripts/measure/services.py --agents 128 --json > services.json
    scripts/measure/services.py --agents 128 --kinds agent --key

Real agents on loopback addresses of their own. In each round a program on one of them holds a service, all members know of it, and then it gets
SIGKILL: a program that holds the connection itself (`program`), `heartsay exec --service` (`exec`), and the command of that (`command`). Or an agent itself gets it (`agent`),
and its host has to say so. The time is from just before
the kill to the moment that each other agent stamps on its event `service-gone` or `member-down` (`said`), and to the moment at which the line arrives here (`read`), where
one process reads all the streams. At rest the agents are also asked how many bytes they send, with the service and without. The exit code is 1 if `said` is above the target.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

from harness import ROOT, Lab, Missed, end_on_signals, environment, follow, idle, key_file, say, settle_arguments

NAME = "measured"


def main():
    args = arguments()
    end_on_signals()
    result = {"agents": args.agents, "rounds": args.rounds, "seed": args.seed, "kinds": {}}
    with Lab(args.binary) as lab:
        flags = ["--key-file", key_file(lab, "key")] if args.key else []
        agents, watches = lab.formed(args.agents, args.settle, paced=args.agents > MANY, flags=flags)
        for kind in args.kinds:
            times = {"said": [], "read": []}
            for _ in range(args.rounds):
                agent = args.chance.choice(agents)
                if kind == "agent":
                    whole(agent, watches, args, times)
                else:
                    once(kind, lab, agent, watches, args, times)
            result["kinds"][kind] = {how: figures(values) for how, values in times.items()}
            for how, values in times.items():
                say(f"{kind:8} {how}: {shown(values)}")
        result["rest"] = rest(lab, agents, watches, args)
        say(f"bytes in a second and agent: {result['rest']}")
    if args.json:
        print(json.dumps(result, indent=1))
    worst = max(kind["said"]["p99_ms"] for kind in result["kinds"].values())
    sys.exit(0 if worst <= args.target else 1)


def once(kind, lab, agent, watches, args, times):
    """One round: a service comes, is killed, and is gone everywhere."""
    began = time.monotonic()
    holder = start(kind, lab, agent)
    try:
        wait_for(watches, "service-up", began, "all know of it")
        idle(watches, args.chance.uniform(0.5, 1.5))
        victim = holder.pid if kind != "command" else child_of(holder.pid)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        moments = wait_for(watches, "service-gone", killed, "it is gone everywhere")
        times["read"] += [moment - killed for moment in moments]
        times["said"] += [watch.stamped(gone, killed) for watch in watches]
    finally:
        if holder.poll() is None:
            holder.kill()
        holder.wait()
    # What is left of its group, if anything, has gone by then.
    idle(watches, 0.5)


def whole(victim, watches, args, times):
    """One round: an agent is killed, all others know it, and it comes back."""
    # Its guardian has to know of all others.
    idle(watches, args.chance.uniform(2.5, 3.5))
    others = [watch for watch in watches if watch.agent is not victim]
    killed = victim.kill()
    moments = follow(others, lambda watch: watch.count("member-down", {victim.name}, killed) > 0, 20, "it is down everywhere")
    times["read"] += [moment - killed for moment in moments]
    times["said"] += [watch.stamped(is_down, killed) for watch in others]
    victim.start()
    # The stream of its last life has ended; that of the next begins with all members.
    own = next(watch for watch in watches if watch.agent is victim)
    own.since = None
    own.restart()
    follow(others, lambda watch: watch.status(victim.name) == "alive", 30, "it is back everywhere")
    follow([own], lambda watch: watch.alive() == len(watches), 30, "it knows all again")


def is_down(event):
    return event["type"] == "member-down"


def wait_for(watches, kind, since, what):
    """When the event came to each."""
    return follow(watches, lambda watch: watch.count(kind, since=since) > 0, 20, what)


def gone(event):
    return event["type"] == "service-gone"


def start(kind, lab, agent):
    if kind == "program":
        command = [sys.executable, "-c", PROGRAM, str(agent.socket)]
    else:
        command = [lab.binary, "--socket", str(agent.socket), "exec", "--service", NAME, "--", "sleep", "600"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment())


def child_of(pid):
    """The command of `heartsay exec`; it also has a keeper, which runs the same program."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        if Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "sleep":
            return int(child)
    raise Missed("exec has no command")


def rest(lab, agents, watches, args):
    """What each agent sends, in bytes in a second, with the service at rest and without."""
    without = sent(agents, watches, args.rest)
    began = time.monotonic()
    holder = start("program", lab, agents[0])
    try:
        wait_for(watches, "service-up", began, "all know of it")
        idle(watches, 5)
        return {"without": without, "with": sent(agents, watches, args.rest)}
    finally:
        holder.kill()
        holder.wait()


def sent(agents, watches, seconds):
    before, began = [agent.get("/v1/stats")["bytes_sent"] for agent in agents], time.monotonic()
    idle(watches, seconds)
    after, lasted = [agent.get("/v1/stats")["bytes_sent"] for agent in agents], time.monotonic() - began
    return round((sum(after) - sum(before)) / lasted / len(agents), 1)


def figures(values):
    return {"n": len(values), "p50_ms": part(values, 0.5), "p99_ms": part(values, 0.99), "max_ms": part(values, 1)}


def part(values, share):
    """The value below which this share of them lies, in milliseconds."""
    ordered = sorted(values)
    return round(1e3 * ordered[max(0, min(len(ordered), int(share * len(ordered) + 0.999999)) - 1)], 2)


def shown(values):
    return ", ".join(f"{key} {value}" for key, value in figures(values).items())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    parser.add_argument("--binary", default=default, help="the heartsay to measure (default: the release build)")
    parser.add_argument("--agents", type=int, default=32, help="how many agents (32)")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each kind (10)")
    parser.add_argument("--key", action="store_true", help="with a cluster key")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=KINDS, help="of " + ",".join(KINDS))
    parser.add_argument("--settle", type=float, default=5, help="seconds before the first round (5)")
    parser.add_argument("--rest", type=float, default=20, help="seconds of each measurement at rest (20)")
    parser.add_argument("--target", type=float, default=50, help="milliseconds that p99 of `said` may take (50)")
    parser.add_argument("--seed", type=int, help="of the choice of agents and moments (random)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    args = parser.parse_args()
    if not 2 <= args.agents <= 1000 or args.rounds < 1 or set(args.kinds) - set(KINDS):
        parser.error("--agents are 2 to 1000, --rounds at least 1, --kinds of " + ",".join(KINDS))
    settle_arguments(parser, args)
    # A stream per agent.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return args


# More are started one after the other.
MANY = 200
KINDS = ["program", "exec", "command", "agent"]
# Any program that opens a socket can hold a service.
PROGRAM = f"""
import socket, sys
agent, body = socket.socket(socket.AF_UNIX), b'{{"name":"{NAME}","hold":true}}'
agent.connect(sys.argv[1])
agent.sendall(b"POST /v1/services HTTP/1.1\\r\\nHost: agent\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
while agent.recv(4096):
    pass
"""

if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures real agents on this machine against their targets: experiments R1 to R10.

    cargo build --release
    scripts/measure/measure-real.py                                everything but R7, about half an hour
    scripts/measure/measure-real.py --only R1 --agents 32,64,128   one experiment, at these sizes
    scripts/measure/measure-real.py --only R3 --seconds 600        the full ten minutes of loss
    scripts/measure/measure-real.py --only R2 --json > R2.json

One configuration serves all of them: that which ships; R10 adds one export after the other to it. Agents run on loopback addresses of their own
(127.x.y.z). What needs packets dropped (R2, R3) runs them in one network namespace, R8 in one each
(root, iproute2, nftables; otherwise shown as skipped). A time is from the act to the moment at which
the line arrives on the event stream of an observer. The exit code is 1 if a target is missed, 2 if
something could not be measured. Everything started is ended, by process id.
"""

import argparse
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

import report as reporting
from harness import (
    ROOT, Impossible, Island, Missed, Namespaces, end_on_signals, follow, idle, key_file, memory_available, say,
    settle_arguments, shown,
)


def main():
    args = arguments()
    end_on_signals()
    sys.exit(reporting.run(EXPERIMENTS, args.only or EVERYDAY, args))


def crash(lab, report, args):
    """A process is killed: how soon the survivors call it down."""
    for count in sizes(args, 32, 64, 128):
        with lab.another() as lab_:
            agents, watches = lab_.formed(count, args.settle)
            down, suspect = [], []
            for victim in args.chance.sample(agents, min(args.repeat, count // 2)):
                others = without(watches, victim)
                wait_a_moment(others, args)
                killed = victim.kill()
                down += since(killed, others, victim, "down")
                suspect += [noticed(w, victim.name, killed) for w in others]
                bring_back(victim, watches, count)
        kills = f"N={count}, {min(args.repeat, count // 2)} kills"
        report.times(f"{kills}: suspect at each survivor", suspect)
        report.times(f"{kills}: down at each survivor", down, median=0.8, p99=1.6)


def vanish(lab, report, args):
    """A host falls silent (its packets are dropped both ways): how soon the others call it down."""
    for count in sizes(args, 32):
        with lab.another() as lab_:
            island = Island(lab_)
            agents, watches = lab_.formed(count, args.settle, namespace=island.name)
            down, suspect, wrong = [], [], 0
            for victim in args.chance.sample(agents, min(args.repeat, count // 2)):
                others = without(watches, victim)
                wait_a_moment(others, args)
                cut = island.silence(victim)
                down += since(cut, others, victim, "down")
                suspect += [noticed(w, victim.name, cut) for w in others]
                well = {agent.name for agent in agents} - {victim.name}
                wrong += sum(w.count("member-down", well, cut) for w in others)
                island.heal()
                follow(watches, lambda w: w.alive() == count, 60, "one view after the heal")
                idle(watches, 3)
        silences = f"N={count}, {min(args.repeat, count // 2)} silences"
        report.times(f"{silences}: suspect at each other", suspect, p99=1.5)
        report.times(f"{silences}: down at each other", down, p99=3.5)
        report.none(f"{silences}: other members called down by them", wrong)


def loss(lab, report, args):
    """A share of all datagrams is lost: no member should be called down."""
    seconds = args.seconds or 45
    for count in sizes(args, 32, 64, 128):
        for percent in args.loss:
            with lab.another() as lab_:
                island = Island(lab_)
                _, watches = lab_.formed(count, args.settle, namespace=island.name)
                began = island.lose(percent)
                idle(watches, seconds)
                island.heal()
                downs = sum(w.count("member-down", since=began) for w in watches)
                suspicions = sum(w.count("member-suspect", since=began) for w in watches)
            what = f"N={count}, {percent} % loss for {seconds:g} s"
            report.none(f"{what}: false downs, over all observers", downs)
            report.row(f"{what}: suspicions, over all observers", suspicions, value=suspicions)


def stops(lab, report, args):
    """A quarter of the agents is stopped again and again: none of the others should be called down."""
    for count in sizes(args, 32):
        for stop in args.stop:
            with lab.another() as lab_:
                agents, watches = lab_.formed(count, args.settle)
                chosen = args.chance.sample(agents, max(1, count // 4))
                healthy = {agent.name for agent in agents if agent not in chosen}
                running = [w for w in watches if w.agent.name in healthy]
                began = time.monotonic()
                cycles = 0
                while time.monotonic() - began < (args.seconds or 30):
                    cycles += 1
                    for agent in chosen:
                        agent.signal(signal.SIGSTOP)
                    idle(running, stop)
                    for agent in chosen:
                        agent.signal(signal.SIGCONT)
                    idle(watches, FREE)
                idle(watches, 5)
                whole = sum(w.alive() == count for w in watches)
                wrong = sum(w.count("member-down", healthy, began) for w in watches)
                ill = {agent.name for agent in chosen}
                right = sum(w.count("member-down", ill, began) for w in running)
            what = f"{len(ill)} of {count} stopped for {stop:g} s, {cycles} times"
            report.none(f"{what}: healthy members called down, over all observers", wrong)
            forgiven = stop < ACCEPTABLE_PAUSE
            report.row(f"{what}: stopped ones called down by healthy observers", right, 0 if forgiven else None,
                       right == 0 if forgiven else None, value=right)
            report.row(f"{what}: full views 5 s after", f"{whole} of {count}", "all", whole == count)


def bootstrap(lab, report, args):
    """All agents are started at once: time from the last start to full views."""
    for count in sizes(args, 128):
        times, said = [], []
        for _ in range(args.boots):
            with lab.another() as lab_:
                agents = lab_.members(count)
                watches = [lab_.watch(agent) for agent in agents]
                for agent in agents:
                    last = agent.start()
                    # Not all at the end, when it would be a burden to those who are just coming up.
                    for watch in watches:
                        if not watch.stream and watch.agent.socket.exists():
                            watch.open()
                full = follow(watches, lambda w: w.alive() == count, 60, "full views")
                times.append(max(0.0, max(full) - last))
                said.append(max(w.stamped(lambda event: event["type"] in FILLS_A_VIEW, last) for w in watches))
        boots = f"N={count}, {args.boots} boots: full view at the slowest agent"
        report.times(boots, times, median=0.8, worst=1.5)
        report.times(f"{boots}, by its own clock", said)


def cost(lab, report, args):
    """What a quiet cluster costs each agent, without a key and with one."""
    seconds = args.seconds or 60
    for count in sizes(args, 128):
        for key in (False, True):
            with lab.another() as lab_:
                flags = ["--key-file", str(key_file(lab_, "key"))] if key else []
                agents = lab_.members(count, flags=flags)
                lab_.start_paced(agents)
                idle([], max(args.settle, 20))
                before = [reporting.sample(agent) for agent in agents]
                idle([], seconds)
                after = [reporting.sample(agent) for agent in agents]
            what = f"N={count}, {'a key' if key else 'no key'}, {seconds:g} s"
            report.amounts(f"{what}: sent per agent, with headers", reporting.sent(before, after), "B/s",
                           most=380 if key else 271)
            report.amounts(f"{what}: datagrams sent per agent", reporting.rates(before, after, "datagrams_sent"), "/s")
            cpu = [100 * each for each in reporting.rates(before, after, "cpu")]
            report.amounts(f"{what}: CPU per agent", cpu, "%", digits=3, most=0.06)
            report.amounts(f"{what}: wake-ups per agent", reporting.rates(before, after, "wakes"), "/s")
            report.amounts(f"{what}: resident memory per agent", mib(after, "rss"), "MiB", most=6)
            report.amounts(f"{what}: of it private", mib(after, "private"), "MiB")
            report.amounts(f"{what}: resident memory with the guardian", mib(after, "together"), "MiB", most=7)
            report.amounts(f"{what}: resident memory once it has been asked", mib(after, "asked"), "MiB")
            report.none(f"{what}: verdicts meanwhile", sum(b["verdicts"] - a["verdicts"] for a, b in zip(before, after)))


def thousand(lab, report, args):
    """A thousand agents on this machine: formation, cost at rest, and a few crashes."""
    for count in sizes(args, 1000):
        needed = MEMORY_SPARE + count * (MEMORY_AGENT + count * MEMORY_PAIR)
        free = memory_available()
        if free < needed:
            raise Impossible(f"{count} agents may need {needed >> 20} MiB, and {free >> 20} are free")
        with lab.another() as lab_:
            # So many views are not followed but asked, by a question that costs an agent next to nothing.
            agents = lab_.members(count, flags=["--log-level", "warn"])
            first = time.monotonic()
            last = lab_.start_paced(agents, log=True)
            full = time.monotonic()
            report.times(f"N={count}: full views everywhere, after the last start", [full - last], worst=10)
            report.times(f"N={count}: full views everywhere, after the first start", [full - first])
            idle([], max(args.settle, 20))
            seconds = args.seconds or 30
            before = [reporting.sample(agent) for agent in agents]
            idle([], seconds)
            after = [reporting.sample(agent) for agent in agents]
            what = f"N={count}, {seconds:g} s at rest"
            cores = sum(reporting.rates(before, after, "cpu"))
            report.row(f"{what}: all agents together", f"{cores:.2f} cores", "≤ 1", cores <= 1, value=cores)
            memory = sum(each["share"] for each in after) / 2**30
            report.row(f"{what}: memory of all (PSS)", f"{memory:.2f} GiB", "≤ 8", memory <= 8, value=memory)
            report.row(f"{what}: sum of RSS", f"{sum(each['rss'] for each in after) / 2**30:.2f} GiB")
            report.amounts(f"{what}: private memory per agent", mib(after, "private"), "MiB")
            report.amounts(f"{what}: sent per agent, with headers", reporting.sent(before, after), "B/s")
            report.none(f"{what}: verdicts", sum(b["verdicts"] - a["verdicts"] for a, b in zip(before, after)))
            victims = args.chance.sample(agents, min(args.repeat, 3))
            watches = [lab_.watch(agent, since_now=True) for agent in agents if agent not in victims]
            idle(watches, 3)
            down, said = [], []
            for victim in victims:
                wait_a_moment(watches, args)
                killed = victim.kill()
                down += since(killed, watches, victim, "down")
                idle(watches, 3)
                about = {"type": "member-down", "name": victim.name}
                said += [w.stamped(lambda event: about.items() <= event.items(), killed) for w in watches]
            # This program shares the processors with all of them, and reads last.
            kills = f"N={count}, {len(victims)} kills: down at each survivor"
            report.times(f"{kills}, by its own clock", said, median=1.6, p99=3.2)
            report.times(f"{kills}, as read here", down)
            well = {agent.name for agent in agents} - {victim.name for victim in victims}
            wrong = sum(w.count("member-down", well) for w in watches)
            report.none(f"N={count}: others called down", wrong)


def partition(lab, report, args):
    """A minority is cut off, then the cut heals: both sides' quorum over time."""
    for count in sizes(args, 5, 10):
        with lab.another() as lab_:
            net = Namespaces(lab_, count)
            flags = ["--expected", str(count), *(["--fence"] if args.fence else [])]
            agents = [net.member(lab_, i, count, flags) for i in range(1, count + 1)]
            for agent in agents:
                agent.start()
            watches = [lab_.watch(agent) for agent in agents]
            follow(watches, lambda w: w.alive() == count and w.quorum == "held", 30, "all agents, quorum held")
            idle(watches, args.settle)
            few = (count - 1) // 2 if count < 8 else 3
            many, minority = watches[: count - few], watches[count - few :]
            away = [w.agent.name for w in minority]
            cut = net.run("cut", ",".join(str(i) for i in range(count - few + 1, count + 1)))
            idle(watches, max(0.0, args.cut - (time.monotonic() - cut)))
            lost = [said(w, "lost", cut) for w in minority]
            gone = [noticed(w, name, cut, ("down",)) for w in many for name in away]
            wobbles = sum(word != "held" for w in many for _, word in quorums(w, cut))
            healed = net.run("heal")
            one = follow(watches, lambda w: w.alive() == count, 60, "one view")
            follow(watches, lambda w: w.quorum == "held", 60, "quorum held everywhere")
            held = [said(w, "held", healed) for w in minority]
            after = time.monotonic()
            idle(watches, 5)
            timeline(watches, cut, healed, away, one)
        what = f"{count - few} and {few} agents, cut for {args.cut:g} s"
        report.times(f"{what}: the {few} say lost", lost)
        report.times(f"{what}: the {few} are down at the others", gone)
        early = max(lost) < min(gone)
        report.row(f"{what}: lost is said before the first is called down", f"{min(gone) - max(lost):+.2f} s", "> 0", early)
        report.none(f"{what}: the {count - few} ever without quorum", wobbles)
        report.times(f"{what}: one view after the heal", [t - healed for t in one], worst=2.0)
        report.times(f"{what}: quorum held again at the {few} after the heal", held)
        report.none(f"{what}: called down in the 5 s after that", sum(w.count("member-down", since=after) for w in watches))


def restart(lab, report, args):
    """A process is killed and started again at once: its new life everywhere, and no verdict on it."""
    for count in sizes(args, 32):
        with lab.another() as lab_:
            agents, watches = lab_.formed(count, args.settle)
            renewed, downs, entries = [], 0, set()
            for victim in args.chance.sample(agents, min(args.repeat, count // 2)):
                own = next(w for w in watches if w.agent is victim)
                others = without(watches, victim)
                wait_a_moment(others, args)
                before = own.generation(victim.name)
                own.close()
                victim.kill()
                idle(others, args.chance.uniform(0.0, 0.4))
                own.restart()
                started = victim.start()
                moments = follow(
                    others, lambda w: w.status(victim.name) == "alive" and w.generation(victim.name) > before, 30,
                    f"the new life of {victim.name}",
                )
                renewed += [moment - started for moment in moments]
                idle(watches, 5)
                downs += sum(
                    event["type"] == "member-down" and event["generation"] > before and moment >= started
                    for w in others for moment, event in w.events if event.get("name") == victim.name
                )
                entries |= {len(w.view) for w in watches}
        what = f"N={count}, {min(args.repeat, count // 2)} restarts"
        report.times(f"{what}: new generation at each other", renewed, worst=1.0)
        report.none(f"{what}: the new life called down in the 5 s after", downs)
        report.row(f"{what}: entries in every view", shown(entries), count, entries == {count})


def reach(lab, report, args):
    """What each export, and what else the agent serves, costs an agent of a quiet cluster: groups of one cluster side by side."""
    seconds = args.seconds or 60
    readers = dict(READERS)
    if not shutil.which("haproxy"):
        say("    SKIPPED haproxy, file and runtime: HAProxy is not installed")
        del readers["haproxy, file and runtime"]
    for count in sizes(args, 128):
        with lab.another() as lab_:
            haproxy = lab_.dir / "haproxy.sock"
            process = start_haproxy(lab_.dir, haproxy) if shutil.which("haproxy") else None
            agents, groups = lab_.members(count), list(readers)
            ports = iter(free_ports(2 * count))
            for i, agent in enumerate(agents):
                place, text = lab_.dir / f"{agent.name}-list", readers[groups[i % len(groups)]]
                place.with_name(f"{place.name}.j2").write_text(TEMPLATE)
                settings = lab_.dir / f"{agent.name}.toml"
                settings.write_text(text.replace("@", str(place)).replace("%", str(haproxy)).replace("&", str(next(ports))))
                agent.command += ["--config", str(settings)]
            try:
                lab_.start_paced(agents)
                idle([], max(args.settle, 20))
                # All are asked for their counters once more 45 s later, when they have given back what the question took.
                before = [reporting.sample(agent) for agent in agents]
                idle([], seconds)
                after = [reporting.sample(agent) for agent in agents]
            finally:
                if process:
                    process.kill()
                    process.wait()
        for i, group in enumerate(groups):
            a, b = before[i::len(groups)], after[i::len(groups)]
            what = f"N={count}, {seconds:g} s, {group}"
            report.amounts(f"{what}: resident memory", mib(b, "rss"), "MiB", digits=2)
            report.amounts(f"{what}: of it private", mib(b, "private"), "MiB", digits=2)
            report.amounts(f"{what}: CPU", [100 * each for each in reporting.rates(a, b, "cpu")], "%", digits=3)
            report.amounts(f"{what}: wake-ups", reporting.rates(a, b, "wakes"), "/s")
            report.amounts(f"{what}: sent, with headers", reporting.sent(a, b), "B/s")


def start_haproxy(place, admin):
    config = place / "haproxy.cfg"
    config.write_text(HAPROXY.replace("SOCKET", str(admin)))
    return subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def free_ports(count):
    """Ports of TCP that nothing has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


EXPERIMENTS = {
    "R1": crash,
    "R2": vanish,
    "R3": loss,
    "R4": stops,
    "R5": bootstrap,
    "R6": cost,
    "R7": thousand,
    "R8": partition,
    "R9": restart,
    "R10": reach,
}
# What R10 adds, each to some agents of one cluster. @ is a place of the agent's own.
READERS = {
    "nothing": "",
    "haproxy, file": 'export = [{ format = "haproxy", path = "@.cfg", name = "web", port = 80, slots = 20 }]',
    "haproxy, file and runtime": 'export = [{ format = "haproxy", path = "@.cfg", name = "web", port = 80, slots = 20, runtime = "%" }]',
    "nginx": 'export = [{ format = "nginx", path = "@.conf", port = 80 }]',
    "envoy-eds": 'export = [{ format = "envoy-eds", path = "@.json", name = "web", port = 80 }]',
    "prometheus-sd": 'export = [{ format = "prometheus-sd", path = "@.json" }]',
    "hosts": 'export = [{ format = "hosts", path = "@.hosts", domain = "shop.heartsay" }]',
    "json": 'export = [{ format = "json", path = "@.json" }]',
    "template": 'export = [{ format = "template", path = "@.list", template = "@.j2" }]',
    "seven exports": 'export = [{ format = "nginx", path = "@.1" , port = 80 }, { format = "nginx", path = "@.2", port = 81 }, '
                     '{ format = "hosts", path = "@.3" }, { format = "json", path = "@.4" }, { format = "json", path = "@.5", port = 80 }, '
                     '{ format = "prometheus-sd", path = "@.json" }, { format = "template", path = "@.list", template = "@.j2" }]',
    "names (dns_listen)": 'dns_listen = "127.0.0.1:&"\ndns_domain = "shop.heartsay"',
    "http_listen": 'http_listen = "127.0.0.1:&"',
    "a hook": 'hooks = { on_member_down = "true" }',
}
TEMPLATE = "{% for m in members %}{{ m.name }} {{ m.address }}\n{% endfor %}"
HAPROXY = """global
    stats socket SOCKET level admin
defaults
    mode tcp
    timeout connect 1s
    timeout client 1s
    timeout server 1s
backend web
    server-template s 200 127.0.0.1:1 disabled
"""
# Events that bring a member into a watcher's view.
FILLS_A_VIEW = ("snapshot", "member-join")
# R7 wants the machine for itself.
EVERYDAY = [name for name in EXPERIMENTS if name != "R7"]


def sizes(args, *usual):
    return args.agents or usual


def without(watches, agent):
    return [w for w in watches if w.agent is not agent]


def wait_a_moment(watches, args):
    """Acts come at any moment of a round."""
    idle(watches, args.chance.uniform(0.5, 1.5))


def since(act, watches, agent, status):
    """Seconds from the act until each watch says `status` of `agent`."""
    moments = follow(watches, lambda w: w.status(agent.name) == status, 60, f"{agent.name} is {status}")
    return [moment - act for moment in moments]


def noticed(watch, name, act, statuses=("suspect", "down")):
    """Seconds from the act until this watch first said one of these about `name`."""
    for moment, event in watch.events:
        if moment >= act and event.get("name") == name and event.get("status") in statuses:
            return moment - act
    raise Missed(f"{watch.agent.name} never said {' or '.join(statuses)} of {name}")


def quorums(watch, act):
    """What this agent has said of quorum since the act, with the seconds after it."""
    return [
        (moment - act, event["quorum"]["quorum"])
        for moment, event in watch.events
        if moment >= act and event["type"] == "quorum"
    ]


def said(watch, word, act):
    """Seconds from the act until this agent first said that quorum is `word`."""
    moment = next((moment for moment, quorum in quorums(watch, act) if quorum == word), None)
    if moment is None:
        raise Missed(f"{watch.agent.name} never said that quorum is {word}")
    return moment


def timeline(watches, cut, healed, away, one):
    """Both sides' status over time, for people: what each agent said of quorum and of those beyond the cut, and when."""
    say(f"    seconds after the cut; healed at {healed - cut:.2f}")
    for watch, whole in zip(watches, one):
        few = watch.agent.name in away
        beyond = {w.agent.name for w in watches if (w.agent.name in away) != few}
        words = [(0.0, "held"), *quorums(watch, cut)]
        downs = [
            (moment - cut, event["name"], event.get("fenced"))
            for moment, event in watch.events
            if moment >= cut and event["type"] in ("member-down", "member-fenced") and event.get("name") in beyond
        ]
        for at, name, fenced in downs:
            words.append((at, f"{name} down" + (", fenced" if fenced else "")))
        words.append((whole - cut, "one view"))
        side = "minority" if few else "majority"
        say(f"    {watch.agent.name:>4} ({side}): {'; '.join(f'{at:.2f} {word}' for at, word in sorted(words))}")


def bring_back(victim, watches, count):
    """Starts the victim again; all see all afterwards."""
    next(w for w in watches if w.agent is victim).restart()
    victim.start()
    follow(watches, lambda w: w.alive() == count, 30, "all are back")
    idle(watches, 2)


def mib(samples, what):
    return [each[what] / 2**20 for each in samples]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    numbers = lambda text: [int(each) for each in text.split(",")]  # noqa: E731
    parser.add_argument("--binary", default=default, help="the heartsay to measure (default: the release build)")
    parser.add_argument("--only", action="append", choices=list(EXPERIMENTS), help="this one; repeat for more")
    parser.add_argument("--agents", type=numbers, help="sizes instead of the usual ones, for instance 32,128")
    parser.add_argument("--repeat", type=int, default=5, help="kills, silences, restarts per size (5; R7: at most 3)")
    parser.add_argument("--boots", type=int, default=11, help="boots of R5 (11)")
    parser.add_argument("--settle", type=float, default=10, help="seconds before the first act (10)")
    parser.add_argument("--seconds", type=float, help="length of R3 (45), R4 (30), R6 and R10 (60), R7 (30)")
    parser.add_argument("--loss", type=numbers, default=[5, 15, 30], help="percentages of R3 (5,15,30)")
    parser.add_argument("--stop", type=numbers, default=[2, 4, 8], help="seconds of a stop in R4 (2,4,8)")
    parser.add_argument("--cut", type=float, default=40, help="seconds of the partition of R8 (40)")
    parser.add_argument("--fence", action="store_true", help="R8 with a fence (at most nine agents)")
    parser.add_argument("--seed", type=int, help="of the choice of victims and moments (random)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    args = parser.parse_args()
    if any(not 4 <= count <= 4000 for count in args.agents or []):
        parser.error("--agents are 4 to 4000")
    settle_arguments(parser, args)
    # A stream per agent.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return args


# Between two stops of R4, in seconds.
FREE = 0.5
# The default of the setting of that name, in seconds.
ACCEPTABLE_PAUSE = 2
# What R7 asks of the machine before it starts: in all, per agent, and per agent and member. Measured, with a margin.
MEMORY_SPARE = 1 << 30
MEMORY_AGENT = 2 << 20
MEMORY_PAIR = 2 << 10

if __name__ == "__main__":
    main()

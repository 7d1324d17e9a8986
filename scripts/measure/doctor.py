#!/usr/bin/env python3
"""Seeds faults, one after another, into real agents in network namespaces, and asks `heartsay doctor`: target H3.

    cargo build --release
    scripts/measure/doctor.py                         all faults, and healthy clusters of 5 and 128; a quarter of an hour
    scripts/measure/doctor.py --only key-unknown      the faults of this name
    scripts/measure/doctor.py --list                  their names
    scripts/measure/doctor.py --healthy 128           a healthy cluster of this size alone

A fault counts as named when the doctor of the host that is said beside it names this code and no other, twice in a row.
Other hosts may say the same, or what is true of them too (listed with the fault). What an outsider can forge hides nothing, so
beside such a code what follows from the fault is named too (`beside`, shown with the result). The exit code is 1 if a fault is not named
or a healthy cluster is called ill, 2 if something could not be measured. Needs root, iproute2 and nftables; some faults need
a C compiler, /dev/net/tun or util-linux, and are shown as skipped without. Everything started is ended, by process id.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

import report as reporting
from harness import (
    PORT, ROOT, Agent, Impossible, Missed, Namespaces, Trouble, end_on_signals, environment, key_file, say, settle_arguments,
)

HOSTS = 5
# Doctors at the same time.
ABREAST = 8
FAULTS = []


def main():
    args = arguments()
    if args.list:
        for fault in FAULTS:
            print(f"{fault.name:28} {fault.__doc__}")
        return
    end_on_signals()
    experiments = {"faults": faults, "healthy": healthy}
    names = ["healthy"] if args.healthy else ["faults"] if args.only else ["healthy", "faults"]
    sys.exit(reporting.run(experiments, names, args))


def fault(code, on, also=(), beside=(), alone=False, within=60):
    """The doctor of member `on` has to say `code`, and may say what is in `beside`, which then is true as well. Others may say
    all this too, and what is in `also`; `alone`: nobody else is asked."""

    def keep(seed):
        seed.code, seed.on, seed.also, seed.alone, seed.within = code, on, set(also), alone, within
        seed.beside = set(beside)
        seed.name = seed.__name__.replace("_", "-")
        FAULTS.append(seed)
        return seed

    return keep


class Case:
    """Five hosts with nothing on them yet, for one fault."""

    def __init__(self, lab, network, name):
        self.lab, self.network = lab, network
        self.dir = lab.dir / name
        self.dir.mkdir(mode=0o755)
        self.agents = {}
        self.helpers = []
        self.asking = {}
        self.undo = []

    def namespace(self, i):
        return f"{self.network.prefix}-{i}"

    def host(self, i):
        return f"10.77.0.{i}"

    def agent(self, i, *flags, name=None, seeds=None, enter=(), bind=None, expected=HOSTS):
        """Starts the agent of host `i`."""
        flags = [*(("--expected", str(expected)) if expected else ()), *flags]
        seeds = [f"{self.host(seed)}:{PORT}" for seed in (1, 2)] if seeds is None else seeds
        agent = Agent(self.lab, name or f"m{i}", bind or f"{self.host(i)}:{PORT}", seeds, cluster="doctor", flags=flags,
                      namespace=self.namespace(i), label=f"{self.dir.name}/{i}")
        # Into the namespace first, then what else is to become the agent.
        agent.command[4:4] = enter
        agent.start()
        self.agents[i] = agent
        return agent

    def state(self, i):
        return self.dir / str(i)

    def cluster(self, *flags, hosts=range(1, HOSTS + 1), **more):
        """An agent on each of these hosts, all in one another's view and with quorum where they can have it."""
        for i in hosts:
            self.agent(i, *flags, **more)
        self.wait(lambda: all(self.alive(i) == len(hosts) for i in hosts), 30, "full views")

    def alive(self, i):
        with suppress(OSError, ValueError, KeyError):
            return self.agents[i].get("/v1/self")["counts"]["alive"]
        return 0

    def quorum(self, i):
        return self.agents[i].get("/v1/quorum")["quorum"] == "held"

    def wait(self, done, seconds, what):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise Trouble(f"not within {seconds} s: {what}")
            time.sleep(0.2)

    def inside(self, i, *command, **more):
        namespace = f"{self.network.prefix}-{i}" if isinstance(i, int) else self.network.prefix + "-hub"
        done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, **more)
        if done.returncode:
            raise Impossible(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def filter(self, i, *rules):
        """Rules of a packet filter on host `i`, by hook: `input udp dport 4327 drop`."""
        lines = ["add table inet doctor"]
        lines += [f"add chain inet doctor {hook} {{ type filter hook {hook} priority 0 ; }}" for hook in ("input", "output")]
        lines += [f"add rule inet doctor {rule}" for rule in rules]
        self.inside(i, "nft", "\n".join(lines))

    def helper(self, i, *command):
        """A process that ends with the case."""
        enter = ["ip", "netns", "exec", self.namespace(i)]
        process = subprocess.Popen([*enter, *command], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.helpers.append(process)
        return process

    def doctor(self, i):
        """The codes that the doctor of host `i` names, and how it ended."""
        enter = self.asking.get(i) or ["ip", "netns", "exec", self.namespace(i)]
        command = [*enter, self.lab.binary, "--socket", str(self.agents[i].socket), "doctor", "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
        try:
            findings = json.loads(done.stdout)["findings"]
        except ValueError:
            raise Trouble(f"doctor on host {i}: {done.returncode}: {done.stdout}{done.stderr}") from None
        problems = [each for each in findings if each["severity"] != "note"]
        if done.returncode not in (0, 3, 4) or (done.returncode == 0) != (not problems):
            raise Trouble(f"doctor on host {i} ended with {done.returncode} and found {findings}")
        return findings

    def end(self):
        for agent in self.agents.values():
            agent.kill(wait=False)
        for process in self.helpers:
            process.kill()
        for agent in self.agents.values():
            agent.kill()
        for process in self.helpers:
            process.wait()
        for undo in self.undo:
            undo()
        self.network.run("heal")
        for i in range(1, HOSTS + 1):
            subprocess.run(["ip", "netns", "exec", self.namespace(i), "nft", "flush ruleset"], check=False)


def codes(findings):
    return sorted({each["code"] for each in findings})


def faults(lab, report, args):
    """A fault at a time: the right code from the right host, and no other but what a code that can be forged may not hide."""
    os.chmod(lab.dir, 0o755)
    network = Namespaces(lab, HOSTS)
    named = asked = 0
    for seed in FAULTS:
        if args.only and seed.name not in args.only and seed.code not in args.only:
            continue
        case = Case(lab, network, seed.name)
        try:
            seed(case)
            asked += 1
            named += examine(case, seed, report)
        except Impossible as why:
            report.row(seed.name, f"SKIPPED: {why}")
        finally:
            case.end()
    if not args.only:
        report.row("faults named", f"{named} of {asked}", "all, of 20 or more", named == asked and asked >= 20)


def examine(case, seed, report):
    began = time.monotonic()
    times = 0
    while times < 2:
        findings = case.doctor(seed.on)
        named = set(codes(findings))
        times = times + 1 if seed.code in named and named <= seed.beside | {seed.code} else 0
        if times < 2 and time.monotonic() - began > seed.within:
            said = "; ".join(f"{each['code']}: {each['what']}" for each in findings) or "nothing"
            report.row(f"{seed.name}: m{seed.on}", f"says {said}", seed.code, False)
            return False
        time.sleep(0.5)
    took = time.monotonic() - began
    wrong = {}
    for i in case.agents:
        if not seed.alone and i != seed.on and (more := set(codes(case.doctor(i))) - {seed.code} - seed.beside - seed.also):
            wrong[f"m{i}"] = sorted(more)
    ok = not wrong
    others = f"; others say {wrong}" if wrong else ""
    beside = sorted(named - {seed.code})
    more = f", with {', '.join(beside)}" if beside else ""
    allowed = f"it, and at most {', '.join(sorted(seed.beside))}" if seed.beside else "it alone"
    report.row(f"{seed.name}: m{seed.on} says {seed.code}", f"after {took:.0f} s{more}{others}", allowed, ok, value=took)
    return ok


# The faults. Members 1 and 2 are the seeds of all.


@fault("mtu-hole", on=1, within=90)
def mtu_hole(case):
    """A link loses long datagrams in one direction."""
    case.inside("hub", "nft", "add rule bridge cuts forward iifname m5 oifname m1 ip length > 700 drop")
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--tag", "blob=" + "x" * 700)


@fault("one-way-link", on=1)
def one_way_link(case):
    """What one member sends to another is dropped."""
    case.cluster()
    case.network.run("mute", "5", "1")


@fault("one-way-link", on=5)
def one_way_link_seen_from_the_other_end(case):
    """The same, asked at the other end."""
    one_way_link(case)


@fault("path-down", on=1)
def path_down(case):
    """Two members do not reach each other."""
    case.cluster()
    case.network.run("part", "1", "5")


@fault("udp-blocked", on=5, also=["member-down", "refusals-filtered", "port-silent"])
def udp_blocked(case):
    """A packet filter drops what comes in by UDP; TCP passes."""
    case.cluster()
    case.filter(5, "input meta l4proto udp drop")


@fault("udp-blocked", on=5, also=["member-down", "refusals-filtered", "port-silent"])
def own_filter(case):
    """A packet filter of the host refuses what its agent sends."""
    case.cluster()
    case.filter(5, f"output udp sport {PORT} drop")


@fault("refusals-filtered", on=1, alone=True)
def refusals_filtered(case):
    """A process is gone, and its host may not say so."""
    case.cluster()
    case.filter(5, "output icmp type destination-unreachable drop")
    case.agents[5].kill()


@fault("port-silent", on=1, alone=True)
def port_silent(case):
    """A process stands still; its host runs."""
    case.cluster()
    case.agents[5].signal(signal.SIGSTOP)


@fault("member-down", on=1, alone=True)
def member_down(case):
    """A process is gone."""
    case.cluster()
    case.agents[5].kill()


@fault("filter-rejects", on=1, beside=["one-way-link", "path-down"])
def filter_rejects(case):
    """A packet filter rejects what comes from one member, with the message that says that no process is there."""
    case.cluster()
    case.filter(5, f"input ip saddr {case.host(1)} udp dport {PORT} reject with icmp type port-unreachable")


@fault("key-unknown", on=1, beside=["expected-too-large"], also=["seeds-unreachable"])
def key_unknown(case):
    """One host has another key."""
    case.cluster("--key-file", str(key_file(case.lab, "key-a")), hosts=range(1, 5))
    case.agent(5, "--key-file", str(key_file(case.lab, "key-b")))


@fault("encryption-differs", on=1, beside=["expected-too-large"], also=["seeds-unreachable"])
def encryption_differs(case):
    """One host has no key."""
    case.cluster("--key-file", str(key_file(case.lab, "key-c")), hosts=range(1, 5))
    case.agent(5)


@fault("cluster-id-differs", on=1, beside=["expected-too-large"], also=["seeds-unreachable"])
def cluster_id_differs(case):
    """One host has another cluster id."""
    case.cluster(hosts=range(1, 5))
    agent = case.agent(5)
    agent.kill()
    agent.command[agent.command.index("--cluster") + 1] = "shop"
    agent.start()


@fault("version-old", on=1, within=30)
def version_old(case):
    """A host speaks an older version of the wire."""
    case.cluster()
    send = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    s.sendto(bytes.fromhex("{MAGIC}01") + bytes(61), ("{case.host(1)}", {PORT}))
    time.sleep(1)
"""
    case.helper(5, sys.executable, "-c", send)


@fault("clock-off", on=5, alone=True)
def clock_ahead(case):
    """The clock of a host is three days ahead."""
    enter = case_clock(case, 3 * 86400)
    case.cluster(hosts=range(1, 5))
    case.agent(5, enter=enter)


@fault("clock-off", on=1, also=["seeds-unreachable"])
def clock_ahead_seen_by_the_others(case):
    """The same, asked at another host."""
    clock_ahead(case)


@fault("receive-buffer-small", on=5, within=30)
def receive_buffer_small(case):
    """A burst is larger than the receive buffer of an agent that is not scheduled for a moment."""
    case.cluster()
    case.agents[5].signal(signal.SIGSTOP)
    burst = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(8000):
    s.sendto(bytes(1200), ("{case.host(5)}", {PORT}))
"""
    case.inside(4, sys.executable, "-c", burst)
    case.agents[5].signal(signal.SIGCONT)


@fault("duplicate-name", on=5, within=25, also=["name-claimed"])
def duplicate_name(case):
    """A second host has the name of a member."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, name="m4")


@fault("name-claimed", on=1, within=25, beside=["expected-too-large"], also=["duplicate-name"])
def duplicate_name_seen_by_the_others(case):
    """The same, asked at another host."""
    duplicate_name(case)


@fault("member-flapping", on=1, within=10, also=["kept-out"])
def member_flapping(case):
    """A member is cut off twice, and back each time."""
    case.cluster()
    for _ in range(2):
        case.network.run("cut", "5")
        time.sleep(6)
        case.network.run("heal")
        time.sleep(6)


@fault("service-critical", on=1)
def service_critical(case):
    """The check of a service fails."""
    settings = case.dir / "heartsay.toml"
    check = '[[service.check]]\ntcp = "127.0.0.1:1"\ninterval = "1s"\ngrace = "1s"\n'
    settings.write_text(f'[[service]]\nname = "web"\nport = 1\n\n{check}')
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--config", str(settings))


@fault("two-members-at-one-address", on=1, also=["path-down", "one-way-link", "not-counted", "member-down", "seeds-unreachable"])
def two_members_at_one_address(case):
    """A host advertises the address of another."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--advertise", f"{case.host(4)}:{PORT}")


@fault("copied-state-directory", on=1)
def copied_state_directory(case):
    """A host was cloned with its state directory, and given another name."""
    case.cluster(hosts=range(1, 5))
    shutil.copytree(case.state(4), case.state(5))
    case.agent(5)


@fault("state-directory", on=5)
def state_directory(case):
    """The file system of the state directory is full."""
    if not shutil.which("nsenter"):
        raise Impossible("nsenter is missing")
    case.state(5).mkdir()
    mount = ["sh", "-c", f'mount -t tmpfs -o size=1m doctor {case.state(5)} && exec "$@"', "sh"]
    case.cluster(hosts=range(1, 5))
    agent = case.agent(5, enter=mount)
    case.wait(lambda: case.alive(5) == HOSTS, 30, "full view of m5")
    case.asking[5] = ["nsenter", "-t", str(agent.process.pid), "-m", "-n"]
    fill = ["sh", "-c", f"cat /dev/zero >{case.state(5)}/fill"]
    subprocess.run([*case.asking[5], *fill], capture_output=True, check=False)


@fault("seeds-do-not-resolve", on=5)
def seeds_do_not_resolve(case):
    """The name of a seed does not exist."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, seeds=["seed.invalid", f"{case.host(1)}:{PORT}"])


@fault("seeds-unreachable", on=5)
def seeds_unreachable(case):
    """There is no host at the address of the only seed."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, seeds=["10.77.0.99"])


@fault("seeds-unreachable", on=5)
def seed_without_an_agent(case):
    """There is a host at the address of the only seed, and no agent on it."""
    case.cluster(hosts=range(1, 4), expected=4)
    case.agent(5, seeds=[case.host(4)], expected=4)


@fault("expected-differs", on=1)
def expected_differs(case):
    """One member was told of other voters."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, expected=4)


@fault("expected-too-large", on=1, within=60)
def expected_too_large(case):
    """More voters are expected than there are."""
    case.cluster(expected=9)


@fault("expected-too-small", on=1)
def expected_too_small(case):
    """More voters are there than expected."""
    case.cluster(expected=4)


@fault("zone-of-one", on=1)
def zone_of_one(case):
    """The zone of one member is misspelt."""
    case.cluster("--zone", "east", hosts=range(1, 5))
    case.agent(5, "--zone", "esat")


@fault("profile-too-tight", on=1, within=90)
def profile_too_tight(case):
    """The way to one member takes a third of a second."""
    slow_link(case, 5, 0.17)
    case.cluster()


@fault("socket-rights", on=5)
def socket_rights(case):
    """A user who may not open the socket asks."""
    case.cluster("--socket-mode", "0600")
    if not shutil.which("setpriv"):
        raise Impossible("setpriv is missing")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*nobody, case.lab.binary, "--version"], capture_output=True, check=False).returncode:
        raise Impossible("an unprivileged user cannot run the program here")
    case.asking[5] = ["ip", "netns", "exec", case.namespace(5), *nobody]


@fault("agent-not-running", on=5, alone=True)
def agent_not_running(case):
    """No agent runs on the host."""
    case.cluster()
    case.agents[5].kill()


@fault("agent-hangs", on=5, alone=True)
def agent_hangs(case):
    """The agent of the host is stopped."""
    case.cluster()
    case.agents[5].signal(signal.SIGSTOP)


@fault("advertised-address", on=5)
def advertised_address(case):
    """The host has no address in the network that is to be advertised."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--advertise", "10.99.0.0/16", bind=f"0.0.0.0:{PORT}")


@fault("service-does-not-beat", on=5, also=["member-down", "port-silent"])
def service_does_not_beat(case):
    """The service beside an agent does not beat."""
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--beat-within", "2s")


@fault("reload-refused", on=5)
def reload_refused(case):
    """New settings make no sense."""
    settings = case.dir / "heartsay.toml"
    settings.write_text('zone = "east"\n')
    case.cluster("--zone", "east", hosts=range(1, 5))
    agent = case.agent(5, "--config", str(settings))
    case.wait(lambda: case.alive(5) == HOSTS, 30, "full view of m5")
    settings.write_text("zoen = 5\n")
    agent.signal(signal.SIGHUP)


@fault("export-failing", on=5)
def export_failing(case):
    """The file of an export cannot be written."""
    settings = case.dir / "heartsay.toml"
    settings.write_text(f'[[export]]\nformat = "json"\npath = "{case.dir}/absent/members.json"\n')
    case.cluster(hosts=range(1, 5))
    case.agent(5, "--config", str(settings))


def case_clock(case, ahead):
    """What makes the wall clock of a process another one."""
    source, library = case.dir / "clock.c", case.dir / "clock.so"
    source.write_text(CLOCK % ahead)
    if not shutil.which("cc"):
        raise Impossible("no C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return ["env", f"LD_PRELOAD={library}"]


def slow_link(case, i, delay):
    """Puts a process between host `i` and the bridge that passes each frame on only after `delay` seconds."""
    if not os.path.exists("/dev/net/tun"):
        raise Impossible("no /dev/net/tun")
    prefix = case.network.prefix
    ends = [(f"{prefix}-{i}", "slow0"), (f"{prefix}-hub", "slow1")]
    process = subprocess.Popen([sys.executable, __file__, "--relay", json.dumps(ends), str(delay)], stdout=subprocess.PIPE)
    case.helpers.append(process)
    if process.stdout.readline() != b"ready\n":
        raise Impossible("no tap devices here")
    case.inside("hub", "ip", "link", "set", "slow1", "master", "bridge", "up")
    case.undo.append(lambda: case.inside(i, "ip", "addr", "replace", f"{case.host(i)}/24", "dev", "eth0"))
    case.inside(i, "ip", "addr", "del", f"{case.host(i)}/24", "dev", "eth0")
    case.inside(i, "ip", "addr", "add", f"{case.host(i)}/24", "dev", "slow0")
    case.inside(i, "ip", "link", "set", "slow0", "up")


def relay(ends, delay):
    """Moves frames between two tap devices, each in its own network namespace."""
    import fcntl
    import heapq
    import select
    import struct

    libc = ctypes.CDLL(None, use_errno=True)
    taps = []
    for namespace, name in ends:
        with open(f"/run/netns/{namespace}", "rb") as target:
            if libc.setns(target.fileno(), 0x40000000):
                sys.exit("setns")
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH14x", name.encode(), 0x1002))  # TUNSETIFF: a tap, no header
        taps.append(tap)
    print("ready", flush=True)
    waiting = []
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            with suppress(OSError):
                os.write(to, frame)
        patience = max(0.0, waiting[0][0] - now) if waiting else None
        for tap in select.select(taps, [], [], patience)[0]:
            with suppress(OSError):
                frame = os.read(tap, 65536)
                heapq.heappush(waiting, (time.monotonic() + delay, id(frame), taps[1 - taps.index(tap)], frame))


def healthy(lab, report, args):
    """Nothing is said of clusters that are well."""
    for count in [args.healthy] if args.healthy else [HOSTS, 128]:
        with lab.another() as lab_:
            agents = lab_.members(count, flags=["--expected", str(count)])
            started(agents)
            # As long as any condition waits before it is shown.
            say(f"    {count} agents; waiting {args.settle:g} s")
            time.sleep(args.settle)
            began = time.monotonic()
            with ThreadPoolExecutor(ABREAST) as pool:
                found = pool.map(lambda agent: (agent.name, ask(lab_.binary, agent)), agents)
                said = {name: findings for name, findings in found if findings}
            took = (time.monotonic() - began) / count
            report.none(f"healthy cluster of {count}: doctors that find something ({took:.2f} s each)", len(said))
            for name, found in list(said.items())[:4]:
                say(f"      {name}: {found}")


def ask(binary, agent):
    """What the doctor finds, notes included; nothing if all is well and its exit code says so."""
    command = [binary, "--socket", str(agent.socket), "doctor", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    found = json.loads(done.stdout)["findings"] if done.stdout else done.stderr
    return found or (f"exit code {done.returncode}" if done.returncode else None)


def started(agents):
    """Starts agents one after another, however slow the machine, until each knows all."""
    for agent in agents:
        agent.start()
        agent.answers(60)
    deadline = time.monotonic() + 60 + 2 * len(agents)
    for agent in agents:
        while (known := agent.get("/v1/stats").get("members", 0)) < len(agents):
            if time.monotonic() > deadline:
                raise Missed(f"no full views in time: {agent.name} knows {known} of {len(agents)}")
            time.sleep(0.2)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target/release/heartsay", help="default: target/release/heartsay")
    parser.add_argument("--only", type=lambda text: text.split(","), help="faults, or codes, with commas between")
    parser.add_argument("--list", action="store_true", help="the faults")
    parser.add_argument("--healthy", type=int, metavar="N", help="a healthy cluster of this size alone")
    parser.add_argument("--settle", type=float, default=70, help="seconds until a healthy cluster is asked, default 70")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seed", type=int, help="for what is drawn")
    args = parser.parse_args()
    if not args.list:
        settle_arguments(parser, args)
    return args


# Of each frame: proto/src/frame.rs.
MAGIC = "6873"
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    if (id == CLOCK_REALTIME && code == 0) now->tv_sec += %d;
    return code;
}
"""

if __name__ == "__main__":
    if sys.argv[1:2] == ["--relay"]:
        relay(json.loads(sys.argv[2]), float(sys.argv[3]))
    else:
        main()

#!/usr/bin/env python3
"""Seeds ten incidents, one after another, into real agents in network namespaces, and looks at the screens as a person who has
been called would: `heartsay top --once`, `status`, `history` and `doctor`, on a healthy member and on the sick one.

    cargo build --release
    scripts/measure/incidents.py                                   all ten, some eight minutes
    scripts/measure/incidents.py --only crash,partition            these
    scripts/measure/incidents.py --markdown docs/results/2026-12-01-incidents.md
    scripts/measure/incidents.py --screens DIR                     every screen whole, a file each
    scripts/measure/incidents.py --list                            their names

An incident is named when `top`, `doctor` and `status` say the right code about the right member before anything else, and `history` has
what happened (where it is an event), on each of the two hosts, within a bound. The exit code is 1 if one is not, 2 if something could not be measured.
Needs root, iproute2, nftables, and for the clock a C compiler. Everything started is ended, by process id.
"""

import argparse
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

import report as reporting
from doctor import Case, case_clock
from harness import PORT, ROOT, Impossible, Namespaces, end_on_signals, environment, key_file, say, settle_arguments

HOSTS = 5
SICK = 5
HEALTHY = 1
COLUMNS = "140"
INCIDENTS = []


def main():
    args = arguments()
    if args.list:
        for incident in INCIDENTS:
            print(f"{incident.name:16} {incident.__doc__}")
        return
    end_on_signals()
    sys.exit(reporting.run({"incidents": incidents}, ["incidents"], args))


def incident(healthy, sick, past, within=30, doctor=None):
    """What the screens of the healthy member and of the sick one have to name first: a code, or one of several that are true of it,
    and the member (`None`: the host itself). `past`: words that the history of the healthy one has to hold. `doctor`: the code that `doctor`
    and `top` say on the healthy one, where knocking at the host finds out more."""

    def keep(seed):
        seed.name = seed.__name__.replace("_", "-")
        seed.named, seed.past, seed.within = {HEALTHY: (*healthy, doctor), SICK: (*sick, None)}, past, within
        INCIDENTS.append(seed)
        return seed

    return keep


class Screens:
    """What one host shows at one moment."""

    def __init__(self, case, i):
        self.at = time.monotonic()
        with ThreadPoolExecutor() as pool:
            looks = [("top", "--once"), ("status",), ("doctor",), ("history", "-n", "20")]
            self.top, self.status, self.doctor, self.history = pool.map(lambda words: run(case, i, *words), looks)
        self.seen = time.monotonic()

    def first(self):
        """The line of each screen that stands first among those that say what is wrong."""
        return {
            # An agent that is away has no problems of its own: the whole screen is one.
            "top": line(self.top, r"^(US|THEM|PATH|ALL) ") or line(self.top, r"\S"),
            "status": line(self.status, r"^!") or line(self.status, r"^heartsay: "),
            "doctor": line(self.doctor, r"^(error|warning) "),
        }

    def all(self):
        return "\n".join(f"$ heartsay {what}\n{getattr(self, what).rstrip()}\n" for what in ("top", "status", "doctor", "history"))


def line(text, pattern):
    return next((each.rstrip() for each in text.splitlines() if re.search(pattern, each)), "")


def run(case, i, *words):
    agent = case.agents[i]
    command = ["ip", "netns", "exec", case.namespace(i), case.lab.binary, "--socket", str(agent.socket), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**environment(), "COLUMNS": COLUMNS})
    return done.stdout + done.stderr


def lacks(screens, wanted):
    """What the screens do not say, or say later than something else."""
    codes, member, doctor = wanted
    codes = (codes,) if isinstance(codes, str) else codes
    wrong = []
    for what, first in screens.first().items():
        if not any(code in first for code in ((doctor,) if doctor and what in ("doctor", "top") else codes)) or (member and not re.search(rf"\b{member}\b", first)):
            wrong.append(f"{what}: {first or 'nothing'}")
    return wrong


def incidents(lab, report, args):
    """The right cause, first, on both hosts."""
    lab.dir.chmod(0o755)
    network = Namespaces(lab, HOSTS)
    pages, named, tried = [], 0, 0
    for seed in INCIDENTS:
        if args.only and seed.name not in args.only:
            continue
        case = Case(lab, network, seed.name)
        try:
            began = seed(case) or time.monotonic()
            tried += 1
            page, ok = examine(case, seed, began, report, args)
            pages.append(page)
            named += ok
        except Impossible as why:
            report.row(seed.name, f"SKIPPED: {why}")
        finally:
            case.end()
    if not args.only:
        report.row("incidents named", f"{named} of {tried}", "all of ten", named == tried == len(INCIDENTS))
    if args.markdown:
        args.markdown.write_text(HEAD.format(binary=version(args.binary)) + "\n".join(pages))


def version(binary):
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def examine(case, seed, began, report, args):
    """Looks until both hosts name it, or the time is up."""
    seen, took = {}, {}
    while True:
        for i, wanted in seed.named.items():
            if i not in took:
                screens = seen[i] = Screens(case, i)
                if not lacks(screens, wanted) and (i == SICK or seed.past is None or seed.past in screens.history):
                    took[i] = screens.seen - began
        if all(i in took or seen[i].at - began > seed.within for i in seed.named):
            break
        time.sleep(0.5)
    page = [f"## {seed.name}\n\n{seed.__doc__}\n"]
    for i, screens in seen.items():
        who = "healthy" if i == HEALTHY else "sick"
        wrong = [] if i in took else lacks(screens, seed.named[i]) or [f"history without “{seed.past}”"]
        codes, member, _ = seed.named[i]
        wish = f"{codes if isinstance(codes, str) else ' or '.join(codes)}{f' {member}' if member else ''}, within {seed.within} s"
        measured = "; ".join(wrong) if wrong else f"named after {took[i]:.1f} s"
        report.row(f"{seed.name}: m{i}, {who}", measured, wish, not wrong, value=took.get(i))
        page.append(f"On m{i}, {who}" + (f", after {took[i]:.1f} s:\n" if i in took else ": **not named first**\n"))
        past = line(screens.history, re.escape(seed.past)) if i == HEALTHY and seed.past else ""
        lines = [*((f"{what:8}{said}") for what, said in screens.first().items()), *([f"history {past}"] if past else [])]
        text = "\n".join(" ".join(each.split()) for each in lines).replace(f"{case.dir}/", "")
        page.append(f"```text\n{text}\n```\n")
        if args.screens:
            args.screens.mkdir(parents=True, exist_ok=True)
            (args.screens / f"{seed.name}-m{i}.txt").write_text(screens.all())
    return "\n".join(page), len(took) == 2


# The incidents: member 5 is the sick one, members 1 and 2 are the seeds of all.


@incident(healthy=("member-down", "m5"), sick=(("nobody listens", "agent-not-running"), None), past="m5 down")
def crash(case):
    """The process of m5 is killed; its host runs."""
    case.cluster()
    return case.agents[SICK].kill()


@incident(healthy=("member-down", "m5"), sick=("udp-blocked", None), past="m5 down")
def vanished_host(case):
    """The cable of m5 is pulled."""
    case.cluster()
    case.undo.append(lambda: case.inside(SICK, "ip", "link", "set", "eth0", "up"))
    began = time.monotonic()
    case.inside(SICK, "ip", "link", "set", "eth0", "down")
    return began


@incident(healthy=("one-way-link", "m5"), sick=("one-way-link", "m1"), past="direct path to m5")
def one_way_cut(case):
    """What m5 sends to m1 is dropped; all else passes."""
    case.cluster()
    return case.network.run("mute", "5", "1")


@incident(healthy=("member-down", "m[45]"), sick=(("isolated", "cut-off"), None), past="m5 down", within=40)
def partition(case):
    """m4 and m5 are cut off from the other three."""
    case.cluster()
    return case.network.run("cut", "4,5")


@incident(healthy=("member-flapping", "m5"), sick=("kept-out", None), past="m5 down")
def flapping(case):
    """The cable of m5 comes and goes: three times out for 6 s and in for 6 s; the time runs from the last return."""
    case.cluster()
    for _ in range(3):
        case.network.run("cut", "5")
        time.sleep(6)
        began = case.network.run("heal")
        time.sleep(6)
    return began


@incident(healthy=("clock-off", "m5"), sick=("clock-off", None), past=None)
def clock(case):
    """The clock of m5 is three days ahead."""
    enter = case_clock(case, 3 * 86400)
    case.cluster(hosts=range(1, HOSTS))
    began = time.monotonic()
    case.agent(SICK, enter=enter)
    return began


@incident(healthy=("key-unknown", "10.77.0.5"), sick=("seeds-unreachable", None), past=None)
def wrong_key(case):
    """m5 starts with another key. It cannot know: nobody answers what is sealed with that. The remedy names the key."""
    case.cluster("--key-file", str(key_file(case.lab, "key-a")), hosts=range(1, HOSTS))
    began = time.monotonic()
    case.agent(SICK, "--key-file", str(key_file(case.lab, "key-b")))
    return began


@incident(healthy=(("port-silent", "member-down"), "m5"), doctor="port-silent", sick=(("agent-hangs", "did not answer"), None), past="m5 down")
def stalled_process(case):
    """The agent of m5 stands still (SIGSTOP); its host runs."""
    case.cluster()
    return case.agents[SICK].signal(signal.SIGSTOP)


@incident(healthy=("service-critical", "m5"), sick=("service-critical", "m5"), past="web on m5 critical")
def sick_service(case):
    """The web server of m5 does not take connections any more."""
    settings = case.dir / "heartsay.toml"
    check = '[[service.check]]\ntcp = "127.0.0.1:8080"\ninterval = "1s"\nfall = 2\n'
    settings.write_text(f'[[service]]\nname = "web"\nport = 8080\n\n{check}')
    server = case.helper(SICK, sys.executable, "-m", "http.server", "8080", "--bind", "127.0.0.1")
    case.cluster(hosts=range(1, HOSTS))
    case.agent(SICK, "--config", str(settings))
    case.wait(lambda: is_passing(case), 30, "the service is passing")
    began = time.monotonic()
    server.kill()
    return began


def is_passing(case):
    with suppress(OSError, ValueError, KeyError, IndexError):
        return case.agents[HEALTHY].get("/v1/services/web")["instances"][0]["health"] == "passing"
    return False


@incident(healthy=("name-claimed", "m4"), sick=("duplicate-name", None), past=None, within=25)
def duplicate_name(case):
    """A fifth host has the name of m4."""
    case.cluster(hosts=range(1, HOSTS))
    began = time.monotonic()
    case.agent(SICK, name="m4")
    return began


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target/release/heartsay", help="default: target/release/heartsay")
    parser.add_argument("--only", type=lambda text: text.split(","), help="incidents, with commas between")
    parser.add_argument("--list", action="store_true", help="the incidents")
    parser.add_argument("--markdown", type=Path, help="write the lines that name the cause to this page")
    parser.add_argument("--screens", type=Path, help="write every screen to this directory")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seed", type=int, help="for what is drawn")
    args = parser.parse_args()
    if not args.list:
        settle_arguments(parser, args)
    return args


HEAD = """# Ten incidents, and what the screens say

`scripts/measure/incidents.py --markdown docs/results/2026-12-01-incidents.md`, {binary}, 2026-12-01, two cores. Five members in network namespaces; m5 is sick, m1 is well. Each
line is the first of its screen that says what is wrong, in 140 columns: `heartsay top --once`, `status`, `doctor`, and from `history` the line about it, where it has one: what an agent refuses at its door is no event.
The time runs from the incident to the end of the first look at which all four say it. A look takes some seconds, as the doctor knocks at the hosts of members that are down.

"""

if __name__ == "__main__":
    main()

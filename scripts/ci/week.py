#!/usr/bin/env python3
"""A week of an operator of five hosts, in some minutes: what they type, what they see, and whether it came out right.

    cargo build --release
    scripts/ci/week.py                  the whole week, as root
    scripts/ci/week.py --new OTHER      the binary that Friday's upgrade brings (default: the same once more)

Five hosts are five network namespaces on one bridge (netns.sh), with a key, an electorate of five, zones and tags.
Prometheus with the shipped alerts and HAProxy run beside them if they are installed; what is not is named as SKIPPED.
Nothing outside of the namespaces is touched, and everything that was started is ended, by process id.

Exit code: 0 all came out right, 1 something did not, 3 it cannot be done on this machine.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "cluster"))

from harness import ROOT, Impossible, Lab, Missed, Namespaces, Trouble, end_on_signals, environment, key_file

HOSTS = range(1, 6)
ZONES = {1: "east", 2: "east", 3: "west", 4: "west", 5: "north"}
HTTP, WEB, BALANCER, PROMETHEUS = 4380, 8080, 80, 9090


def main():
    args = arguments()
    end_on_signals()
    began = time.monotonic()
    try:
        with Lab(args.binary) as lab, Company(lab, args.new) as company:
            for day in (monday, tuesday, wednesday, thursday, friday, saturday, sunday):
                print(f"\n== {day.__name__.capitalize()}: {day.__doc__}", flush=True)
                day(company)
            wrong = company.wrong
    except Impossible as e:
        print(f"week.py: {e}", file=sys.stderr)
        sys.exit(3)
    except (Missed, Trouble) as e:
        wrong = [str(e)]
    print(f"\n{time.monotonic() - began:.0f} s; " + ("all came out right" if not wrong else f"{len(wrong)} did not come out right:"))
    for each in wrong:
        print(f"  {each}")
    sys.exit(1 if wrong else 0)


def monday(company):
    """five hosts are set up"""
    company.remark("One key for all of them; 'expected' says that five vote, so three are a majority.")
    company.keys = [key_file(company.lab, "key-1")]
    for i in HOSTS:
        company.start(i)
    for i in HOSTS:
        company.check(f"m{i} is joined", company.heartsay(i, "wait", "--for", "joined && alive>=5", "--timeout", "30s").ok)
    company.show(1, "members")
    company.check("all five hold quorum", company.soon(lambda: all(company.quorum(i) == "held" for i in HOSTS)))
    company.show(1, "quorum")
    company.show(1, "status")
    company.check("nothing is complained of", not company.get(1, "/v1/self")["conditions"])
    company.serve_web()
    company.start_prometheus()
    company.start_haproxy()


def tuesday(company):
    """m3's machine burns down"""
    company.remark("Its cable is pulled and its agent is killed: nothing comes back, not even a refusal.")
    lost = company.cut("3")
    company.agents[3].kill()
    company.check("the others call it down", company.soon(lambda: company.sees(1, "m3") == "down", 20))
    print(f"  ({time.monotonic() - lost:.1f} s after)")
    company.show(1, "members")
    company.show(1, "why", "m3")
    company.check("four of five hold quorum", all(company.quorum(i) == "held" for i in HOSTS if i != 3))
    company.check("no other is down", all(company.sees(i, f"m{j}") == "alive" for i in (1, 2, 4, 5) for j in (1, 2, 4, 5)))
    company.expect_alert("MemberDown", True)
    company.expect_served({2, 4, 5})


def wednesday(company):
    """m3 is replaced by a new machine with the old name"""
    company.remark("An empty state directory: another host. The name is free, as its holder is down.")
    company.heal()
    shutil.rmtree(company.state(3))
    company.agents[3].start()
    company.check("it is joined", company.heartsay(3, "wait", "--for", "joined && alive>=5", "--timeout", "30s").ok)
    company.check("all see five alive", company.soon(lambda: all(company.alive(i) == 5 for i in HOSTS)))
    company.show(5, "members")
    company.check("all five hold quorum", company.soon(lambda: all(company.quorum(i) == "held" for i in HOSTS)))
    company.expect_alert("MemberDown", False)
    company.expect_served({2, 3, 4, 5})


def thursday(company):
    """the key is changed"""
    company.remark("In three steps, each finished on every host before the next: accept the new one, send with it, drop the old. No agent restarts.")
    old, new = company.keys[0], key_file(company.lab, "key-2")
    since = company.count("member-down"), company.count("member-restart")
    ids = [company.key_id(key) for key in (old, new)]
    for what, words in (
        ("accept the new key", ["keys", "add", str(new)]),
        ("send with it", ["keys", "use", ids[1]]),
        ("drop the old one", ["keys", "remove", ids[0]]),
    ):
        print(f"  -- {what}")
        # The step before has to be known everywhere; else this is refused, with code 4.
        for i in HOSTS:
            company.check(f"m{i}: heartsay {' '.join(words[:2])}", company.soon(lambda: company.heartsay(i, *words).ok))
        company.show(1, "keys", "list")
        company.check("all see five alive", company.soon(lambda: all(company.alive(i) == 5 for i in HOSTS)))
    company.keys = [new]
    company.check("no member was called down or began anew by it", (company.count("member-down"), company.count("member-restart")) == since)
    company.check("all five hold quorum", company.soon(lambda: all(company.quorum(i) == "held" for i in HOSTS)))
    company.remark("An agent that still has the old key is left outside, and the others say why.")
    stranger = company.agent(6, "m6", keyring=company.write_keyring([old], "keyring-old"))
    stranger.start()
    refused = 'heartsay_datagrams_dropped_total{cluster="%s",reason="unknown-key"}' % company.lab.cluster
    company.check("m1 counts its datagrams as refused", company.soon(lambda: company.metric(1, refused) > 0, 20))
    company.check("it is not taken in", company.sees(1, "m6") is None)
    print(indented(company.heartsay(6, "status").out))
    company.soon(lambda: company.heartsay(1, "doctor", "--no-probe").code == 4)
    company.show(1, "doctor", "--no-probe", code=4)
    stranger.kill()


def friday(company):
    """every agent is upgraded, one after the other"""
    company.remark("'heartsay restart' announces it, and returns when the new process has found the others. The others show member-restart, nothing else.")
    kinds = ("member-down", "member-left", "member-suspect")
    since = [company.count(kind) for kind in kinds]
    for i in HOSTS:
        agent = company.agents[i]
        asked = subprocess.Popen([company.new, "--socket", company.socket(i), "restart"], stdout=subprocess.DEVNULL, env=environment())
        code = agent.process.wait(timeout=15)
        company.check(f"m{i} stops with 75, to be started again", code == 75)
        agent.command[agent.command.index(company.lab.binary)] = company.new
        agent.start()
        company.check(f"m{i}: heartsay restart ends with 0", asked.wait(timeout=30) == 0)
        company.check("all five hold quorum", company.soon(lambda: all(company.quorum(j) == "held" for j in HOSTS)))
    company.show(2, "version")
    company.check("no member was missed for a moment", [company.count(kind) for kind in kinds] == since)
    company.show(2, "history", "--since", "1m", "--type", "member-restart")
    company.expect_served({2, 3, 4, 5})


def saturday(company):
    """the link to the east, with m1 and m2, is cut for a while"""
    company.remark("On m2 and m4 a program runs only while there is quorum.")
    programs = {i: company.run_guarded(i) for i in (2, 4)}
    company.check("both run", company.soon(lambda: all(program.exists() for program in programs.values())))
    company.cut("1,2")
    company.check("m1 and m2 have lost quorum", company.soon(lambda: all(company.quorum(i) == "lost" for i in (1, 2)), 20))
    company.check("the program on m2 was stopped", company.soon(lambda: not programs[2].exists(), 20))
    company.show(1, "quorum", code=4)
    company.check("m3, m4 and m5 hold it", company.soon(lambda: all(company.quorum(i) == "held" for i in (3, 4, 5)), 20))
    company.check("the program on m4 runs on", programs[4].exists())
    company.check("m4 calls m1 and m2 down", company.soon(lambda: {company.sees(4, n) for n in ("m1", "m2")} == {"down"}, 20))
    company.show(4, "members")
    company.heal()
    company.check("after it all see five alive", company.soon(lambda: all(company.alive(i) == 5 for i in HOSTS)))
    company.check("all five hold quorum", company.soon(lambda: all(company.quorum(i) == "held" for i in HOSTS), 20))
    company.check("the program on m2 runs again", company.soon(programs[2].exists, 20))


def sunday(company):
    """m5 is not needed any more"""
    company.check("it says good-bye", company.heartsay(5, "leave").ok)
    company.agents[5].process.wait(timeout=15)
    company.check("the others know that it has left", company.soon(lambda: all(company.sees(i, "m5") == "left" for i in (1, 2, 3, 4))))
    company.check("it can be forgotten", company.heartsay(1, "forget", "m5").ok)
    company.check("and is gone everywhere", company.soon(lambda: all(company.sees(i, "m5") is None for i in (1, 2, 3, 4))))
    company.show(1, "members")
    company.expect_served({2, 3, 4})
    company.check("nothing is complained of", all(not company.get(i, "/v1/self")["conditions"] for i in (1, 2, 3, 4)))
    company.check_metrics()


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, done):
        self.code, self.out = done.returncode, done.stdout + done.stderr
        self.ok = done.returncode == 0


class Company:
    """Five hosts and what runs beside them."""

    def __init__(self, lab, new):
        self.lab, self.new = lab, new
        self.wrong, self.beside, self.agents = [], [], {}
        self.prometheus = self.haproxy = False

    def __enter__(self):
        # One more than the five: a sixth tries to join on Thursday.
        self.network = Namespaces(self.lab, 6)
        if self.new is None:
            self.new = str(self.lab.dir / "heartsay-new")
            shutil.copy(self.lab.binary, self.new)
        return self

    def __exit__(self, *_):
        # Each leads a session of its own, so that what it has started ends with it.
        for process in reversed(self.beside):
            end(process, signal.SIGTERM)
        for process in self.beside:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                end(process, signal.SIGKILL)
                process.wait()

    # What one does.

    def agent(self, i, name, keyring=None):
        flags = [
            "--config", str(self.exports(i)), "--key-file", str(keyring or self.write_keyring(self.keys, f"keyring-{i}")), "--expected", "5", "--zone", ZONES.get(i, "north"),
            "--tag", f"role={'db' if i == 1 else 'web'}", "--tag", f"port={WEB}", "--http-listen", f"{ip(i)}:{HTTP}",
        ]
        return self.lab.agent(name, f"{ip(i)}:4327", [ip(1), ip(5)], flags=flags, namespace=self.namespace(i))

    def start(self, i):
        self.agents[i] = self.agent(i, f"m{i}")
        self.agents[i].start()

    def write_keyring(self, keys, name):
        path = self.lab.dir / name
        path.touch(mode=0o600)
        path.write_text("".join(key.read_text() for key in keys))
        return path

    def key_id(self, key):
        said = Said(subprocess.run([self.lab.binary, "keys", "list", "--file", str(key), "-o", "json"], capture_output=True, text=True))
        return str(json.loads(said.out)["keys"][0]["id"])

    def admin(self):
        """HAProxy's socket for those who change its servers."""
        return self.lab.dir / "haproxy.sock"

    def exports(self, i):
        """A settings file; that of m1 has HAProxy follow the members."""
        path = self.lab.dir / f"heartsay-{i}.toml"
        export = f'[[export]]\nformat = "haproxy"\nname = "web"\nport = "tag:port"\nselect = {{ tag = "role=web" }}\nruntime = "{self.admin()}"\n'
        path.write_text(export if i == 1 and shutil.which("haproxy") else "")
        return path

    def cut(self, who):
        print(f"  # scripts/cluster/netns.sh cut {who}", flush=True)
        return self.network.run("cut", who)

    def heal(self):
        print("  # scripts/cluster/netns.sh heal", flush=True)
        return self.network.run("heal")

    def run_guarded(self, i):
        """A program that is there as long as its file is."""
        sign = self.lab.dir / f"primary-{i}"
        program = f"trap 'rm -f {sign}; exit' TERM; touch {sign}; while :; do sleep 0.1; done"
        self.spawn(i, self.lab.binary, "--socket", self.socket(i), "exec", "--while-quorum", "--restart", "--", "sh", "-c", program)
        return sign

    # What stands beside them.

    def spawn(self, i, *command):
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(i), *map(str, command)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.lab.dir / "beside.log", "ab"), env=environment(),
            start_new_session=True,
        )
        self.beside.append(process)
        return process

    def serve_web(self):
        """A web server on each host but the first says its name."""
        for i in HOSTS:
            if i != 1:
                home = self.lab.dir / f"web-{i}"
                home.mkdir()
                (home / "index.html").write_text(f"m{i}\n")
                self.spawn(i, sys.executable, "-m", "http.server", WEB, "--bind", ip(i), "--directory", home)

    def start_prometheus(self):
        if not shutil.which("prometheus"):
            print("  SKIPPED: prometheus is not installed: no alerts are looked at")
            return
        targets = ", ".join(f"'{ip(i)}:{HTTP}'" for i in HOSTS)
        shutil.copy(ROOT / "agent/packaging/prometheus/alerts.yaml", self.lab.dir)
        config = self.lab.dir / "prometheus.yaml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yaml]\n"
            f"scrape_configs:\n- job_name: heartsay\n  static_configs:\n  - targets: [{targets}]\n"
        )
        self.spawn(
            1, "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.lab.dir / 'prometheus'}",
            f"--web.listen-address={ip(1)}:{PROMETHEUS}", "--log.level=error",
        )
        self.prometheus = True
        scraped = lambda: len(self.ask_prometheus("query?query=up==1")["result"]) == 5
        self.check("Prometheus scrapes all five", self.soon(scraped, 30))

    def start_haproxy(self):
        if not shutil.which("haproxy"):
            print("  SKIPPED: haproxy is not installed: no balancer follows the members")
            return
        config = self.lab.dir / "haproxy.cfg"
        config.write_text(
            f"global\n  stats socket {self.admin()} level admin\ndefaults\n  mode http\n  timeout connect 1s\n"
            f"  timeout client 5s\n  timeout server 5s\nlisten web\n  bind {ip(1)}:{BALANCER}\n"
            "  server-template web 8 127.0.0.1:1 disabled\n"
        )
        self.spawn(1, "haproxy", "-db", "-f", config)
        self.check("HAProxy runs", self.soon(self.admin().exists))
        self.haproxy = True
        self.remark("The agent of m1 tells it which servers there are: an [[export]] with its 'runtime' socket.")
        self.expect_served({2, 3, 4, 5})
        self.show(1, "export")

    # What one sees.

    def heartsay(self, i, *words):
        return Said(subprocess.run(
            [self.lab.binary, "--socket", self.socket(i), *words], capture_output=True, text=True, env=environment(),
        ))

    def show(self, i, *words, code=0):
        said = self.heartsay(i, *words)
        print(f"  m{i}$ heartsay {' '.join(words)}\n{indented(said.out)}", flush=True)
        self.check(f"heartsay {words[0]} ends with {code}", said.code == code)

    def get(self, i, path):
        try:
            return self.agents[i].get(path)
        except OSError:
            return {}

    def alive(self, i):
        return self.get(i, "/v1/self").get("counts", {}).get("alive")

    def sees(self, i, name):
        return self.get(i, f"/v1/members/{name}").get("status") if self.known(i, name) else None

    def known(self, i, name):
        return any(member["name"] == name for member in self.get(i, "/v1/members").get("members", []))

    def quorum(self, i):
        return self.get(i, "/v1/quorum").get("quorum")

    def count(self, kind):
        """How often each log tells of this."""
        return {i: self.agents[i].log.read_text(errors="replace").count(kind) for i in self.agents}

    def metric(self, i, series):
        text = self.curl(i, f"http://{ip(i)}:{HTTP}/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines())
        return next((float(value) for name, _, value in lines if name == series), 0.0)

    def curl(self, i, url):
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace(i), "curl", "-s", "-m", "5", url], capture_output=True, text=True,
        )
        return done.stdout

    def ask_prometheus(self, question):
        return json.loads(self.curl(1, f"http://{ip(1)}:{PROMETHEUS}/api/v1/{question}") or "{}")["data"]

    def expect_alert(self, name, active):
        """Pending or firing, or neither."""
        if not self.prometheus:
            return
        def told():
            return {alert["labels"]["alertname"]: alert["state"] for alert in self.ask_prometheus("alerts")["alerts"]}
        word = "is raised" if active else "is over"
        self.check(f"alert {name} {word}", self.soon(lambda: (name in told()) == active, 30))
        print(f"  m1$ alerts: {told() or 'none'}")

    def expect_served(self, hosts):
        if not self.haproxy:
            return
        wanted = {f"m{i}" for i in hosts}
        def served():
            return {self.curl(1, f"http://{ip(1)}:{BALANCER}/").strip() for _ in range(12)}
        self.check(f"HAProxy serves from {', '.join(sorted(wanted))}", self.soon(lambda: served() == wanted, 20))

    def check_metrics(self):
        if not shutil.which("promtool"):
            print("  SKIPPED: promtool is not installed: the metrics are not checked")
            return
        text = self.curl(1, f"http://{ip(1)}:{HTTP}/metrics")
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        self.check("promtool finds nothing wrong with the metrics", done.returncode == 0)
        if done.returncode:
            print(indented(done.stderr))

    def remark(self, text):
        print(f"  {text}", flush=True)

    def check(self, what, right):
        print(f"  {'right' if right else 'WRONG'}: {what}", flush=True)
        if not right:
            self.wrong.append(what)

    def soon(self, holds, seconds=15):
        """Whether it holds within so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return True
            except (OSError, KeyError, ValueError):
                pass
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def namespace(self, i):
        return f"{self.network.prefix}-{i}"

    def socket(self, i):
        return str(self.lab.dir / f"m{i}.sock")

    def state(self, i):
        return self.lab.dir / f"m{i}"


def end(process, by):
    try:
        os.killpg(process.pid, by)
    except ProcessLookupError:
        pass


def ip(i):
    return f"10.77.0.{i}"


def indented(text):
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEARTSAY_BIN", str(ROOT / "target/release/heartsay"))
    parser.add_argument("--binary", default=default, help="the heartsay to begin with (default: the release build)")
    parser.add_argument("--new", help="the heartsay that Friday's upgrade brings")
    args = parser.parse_args()
    for binary in filter(None, (args.binary, args.new)):
        if not os.access(binary, os.X_OK):
            parser.error(f"no {binary}; build it with: cargo build --release")
    args.binary = str(Path(args.binary).resolve())
    args.new = str(Path(args.new).resolve()) if args.new else None
    return args


if __name__ == "__main__":
    main()

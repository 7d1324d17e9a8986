#!/usr/bin/env python3
"""The page in a browser: real agents, and an invented one with 1,000 members.

    cargo build
    scripts/ci/page.py target/debug/heartsay
    scripts/ci/page.py target/debug/heartsay --shots DIR    pictures of it too

Two minutes. Without chromium and chromedriver it says SKIPPED and looks at nothing. All that is started is ended, by
process id. The exit code is 1 if something is not as it should be.
"""

import argparse
import gzip
import os
import random
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import browser
from browser import DOWN, END, ENTER, ESCAPE, TAB, Browser
from invented import Invented

MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>\u202e"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heartsay", type=Path)
    parser.add_argument("--shots", type=Path, help="a directory for pictures")
    parser.add_argument("--only", nargs="*", choices=STORIES, help="these stories")
    args = parser.parse_args()
    if absent := browser.missing():
        print(f"SKIPPED the page in a browser: {absent} is not installed")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="heartsay-page-") as directory, Cluster(args.heartsay.resolve(), Path(directory)) as cluster:
        for name in args.only or STORIES:
            began = time.monotonic()
            with Browser() as window:
                STORIES[name](cluster, window, Shots(args.shots, window))
            print(f"{name}: good, {time.monotonic() - began:.1f} s", flush=True)


class Agent:
    """A real one, on a loopback address of its own."""

    def __init__(self, program, directory, name, ip, *flags):
        self.name, self.socket, self.url = name, directory / f"{name}.sock", f"http://{ip}:4328/"
        self.command = [program, "agent", "--cluster", "page", "--name", name, "--bind", f"{ip}:4327", "--http-listen", f"{ip}:4328"]
        self.command += ["--socket", self.socket, "--state-dir", directory / name, "--profile", "local", "--expected", "3", *flags]
        self.process = None

    def start(self):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("HEARTSAY_")}
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean)

    def end(self, with_signal=signal.SIGTERM):
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(with_signal)
            self.process.wait(timeout=20)
            self.process = None


class Cluster:
    """Three agents, of which the last tells a tag that would like to be markup; and `heartsay web` beside the first."""

    def __init__(self, program, directory):
        net = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}"
        self.program = program
        seed = ["--seed", f"{net}.1"]
        self.agents = [
            Agent(program, directory, "n1", f"{net}.1"),
            Agent(program, directory, "n2", f"{net}.2", *seed),
            Agent(program, directory, "n3", f"{net}.3", *seed, "--tag", f"note={MARKUP}"),
        ]

    def __enter__(self):
        for agent in self.agents:
            agent.start()
        while not self.agents[0].socket.exists():
            time.sleep(0.02)
        self.web = self.served = None
        self.serve()
        return self

    def serve(self):
        for _ in range(100):
            self.web = subprocess.Popen([self.program, "--socket", self.agents[0].socket, "web"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.served = self.web.stdout.readline().strip()
            if self.served:
                return
            self.web.wait()
            time.sleep(0.1)
        raise AssertionError("heartsay web prints no address")

    def __exit__(self, *_):
        if self.web:
            self.web.send_signal(signal.SIGINT)
            self.web.wait(timeout=10)
        for agent in self.agents:
            agent.end()

    def page(self):
        """As the first agent serves it."""
        request = urllib.request.Request(self.agents[0].url, headers={"accept-encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            wanted = ("content-type", "content-security-policy", "content-encoding")
            return answer.read(), {name: answer.headers[name] for name in wanted}


class Wire:
    """Agents that hear one another by way of it, so that one direction between two of them can be cut."""

    def __init__(self, program, directory, count):
        net = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}"
        self.ips = [f"{net}.{n}" for n in range(1, count + 1)]
        self.cut, self.selector, self.open = set(), selectors.DefaultSelector(), True
        self.sockets = {}
        for ip in self.ips:
            one = self.sockets[ip] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((ip, 4330))
            self.selector.register(one, selectors.EVENT_READ, ip)
        seed = ["--seed", f"{self.ips[0]}:4330"]
        self.agents = [
            Agent(program, directory, f"w{n}", ip, "--advertise", f"{ip}:4330", *(seed if n > 1 else []))
            for n, ip in enumerate(self.ips, 1)
        ]

    def __enter__(self):
        self.thread = threading.Thread(target=self.pass_on, daemon=True)
        self.thread.start()
        for agent in self.agents:
            agent.start()
        until = time.monotonic() + 20
        while not all(self.answers(ip) for ip in self.ips):
            check(time.monotonic() < until, "an agent does not answer")
            time.sleep(0.05)
        return self

    @staticmethod
    def answers(ip):
        with socket.socket() as one:
            return one.connect_ex((ip, 4328)) == 0

    def __exit__(self, *_):
        for agent in self.agents:
            agent.end()
        self.open = False
        self.thread.join(timeout=5)

    def pass_on(self):
        while self.open:
            for key, _ in self.selector.select(0.2):
                datagram, (sender, _) = key.fileobj.recvfrom(65536)
                if sender in self.sockets and (sender, key.data) not in self.cut:
                    self.sockets[sender].sendto(datagram, (key.data, 4327))


class Shots:
    def __init__(self, directory, window):
        self.directory, self.window = directory, window
        if directory:
            directory.mkdir(parents=True, exist_ok=True)

    def take(self, name):
        if self.directory:
            for width, height, scheme in ((1280, 800, "dark"), (390, 844, "light"), (1280, 800, "light")):
                self.window.look(width, height, scheme)
                time.sleep(0.4)
                self.window.shot(self.directory / f"{name}-{width}-{scheme}.png")
            self.window.shot(self.directory / f"{name}-whole.png", whole=True)


def check(is_so, what):
    if not is_so:
        raise AssertionError(what)


def is_quiet(window, origin):
    """Nothing was asked of another place, and the console complains of nothing."""
    elsewhere = [url for url in window.requests() if not url.startswith((origin, "data:"))]
    check(not elsewhere, f"asked elsewhere: {elsewhere}")
    errors = window.errors()
    check(not errors, f"the console says: {errors}")


ROWS = "[...document.querySelectorAll('#table tbody tr:not(.space)')]"


def served_by_the_agent(cluster, window, shots):
    """The page on `http_listen`: members, a member's markup as text, keys."""
    url = cluster.agents[0].url
    window.open(url)
    window.wait("three members", f"{ROWS}.length === 3")
    window.wait("quorum", "document.querySelector('[data-tile=quorum] b').innerText === 'held'")
    window.wait("all is well", "document.getElementById('verdict').innerText === 'Nothing is wrong'")
    time.sleep(3 if shots.directory else 0)
    shots.take("well")
    # By keys alone: to the table, down to the last member, into its case and back.
    window.js("document.getElementById('sort').focus()")
    window.press(TAB)
    window.wait("the first member has the focus", "document.activeElement.dataset.key === 'n1'")
    window.press(DOWN, DOWN)
    window.wait("the last has it", "document.activeElement.dataset.key === 'n3'")
    window.press(ENTER)
    window.wait("its case is open", "document.getElementById('why').open && document.getElementById('why-body').innerText.includes('tag note')")
    case = window.text("#why-body")
    check("<img src=x onerror=" in case and "<b>bold</b>" in case, f"markup is shown as it is written: {case}")
    check("\\u{202e}" in case, "what would turn the text around is written out")
    check(window.js("document.querySelectorAll('#why-body img, #why-body b').length") == 0, "no markup was made of it")
    shots.take("why")
    window.press(ESCAPE)
    window.wait("the case is closed and the focus is back", "!document.getElementById('why').open && document.activeElement.dataset.key === 'n3'")
    window.press("/", "s", "t", "a", "t", "u", "s", "=", "d", "o", "w", "n")
    window.wait("the filter takes what is typed", f"{ROWS}.length === 0")
    window.press(ESCAPE)
    window.wait("and lets go", f"{ROWS}.length === 3")
    window.js("document.querySelector('#paths summary').click()")
    window.wait("who reaches whom", "document.querySelectorAll('#matrix [data-path=up]').length === 2")
    unnamed = "[...document.querySelectorAll('button, input, select')].filter(one => !(one.innerText || one.ariaLabel || one.labels?.length)).length"
    check(window.js(unnamed) == 0, "each control has a name")
    theme = "getComputedStyle(document.documentElement).backgroundColor"
    before = window.js(theme)
    for _ in range(2):
        window.js("document.getElementById('theme').click()")
    check(window.js(theme) != before, "the switch changes the colours")
    is_quiet(window, url)


def served_by_web(cluster, window, shots):
    """`heartsay web`: a token, a death, an agent that stands still, is stopped and comes back."""
    n1, _, n3 = cluster.agents
    origin = cluster.served.split("#")[0]
    window.open(origin)
    window.wait("without a token it says what is missing", "document.getElementById('verdict').innerText === 'This page may not ask'")
    window.errors()
    window.open("about:blank")
    window.open(cluster.served)
    window.wait("three members", f"{ROWS}.length === 3")
    check("token" not in window.js("location.href"), "the token is taken out of the address")
    window.wait("all is well", "document.getElementById('verdict').innerText === 'Nothing is wrong'")
    n3.end(signal.SIGKILL)
    killed = time.monotonic()
    window.wait("the headline says who is down", "document.getElementById('verdict').innerText === 'n3 is down'")
    print(f"  a kill is on the page after {time.monotonic() - killed:.2f} s")
    window.wait("and whose fault that is", "document.getElementById('clauses').innerText.includes('THEM')")
    window.wait("its row comes first, with a letter", f"{ROWS}[0].innerText.startsWith('D') && {ROWS}[0].innerText.includes('n3')")
    window.wait("the remedy is there", "document.getElementById('problems').innerText.includes('start the agent there')")
    window.wait("it is said aloud", "document.getElementById('spoken').innerText.includes('n3 is down')")
    window.wait("it is in the lanes, from the history", "document.querySelector('#lanes .down') && document.getElementById('lanes-from').innerText.includes('history')")
    shots.take("down")
    n3.start()
    window.wait("it is back", "document.getElementById('verdict').innerText === 'Nothing is wrong'")
    is_quiet(window, origin)
    # From here on the browser itself complains of answers that do not come.
    n1.process.send_signal(signal.SIGSTOP)
    window.wait("an agent that stands still is not shown as what is", "document.body.dataset.state === 'away'")
    n1.process.send_signal(signal.SIGCONT)
    window.wait("it goes on", "document.body.dataset.state === 'live'")
    n1.end()
    window.wait("an agent that is stopped", "document.getElementById('verdict').innerText.startsWith('No answer')")
    window.wait("is named with what to do", "document.getElementById('problems').innerText.includes('agent-not-running')")
    window.wait("what it said last has a time", "document.getElementById('witness').innerText.includes('what it said last')")
    shots.take("away")
    n1.start()
    window.wait("all is well again", "document.getElementById('verdict').innerText === 'Nothing is wrong'")
    elsewhere = [url for url in window.requests() if not url.startswith((origin, "data:", "about:"))]
    check(not elsewhere, f"asked elsewhere: {elsewhere}")


def who_reaches_whom(cluster, window, shots):
    """Three agents, of which the first does not reach the second: the page of the third knows it by asking, while somebody looks."""
    asked = lambda: [url for url in window.requests() if "from=" in url]
    with tempfile.TemporaryDirectory(prefix="heartsay-wire-") as directory, Wire(cluster.program, Path(directory), 3) as wire:
        window.open(wire.agents[2].url)
        window.wait("three members", f"{ROWS}.length === 3")
        window.wait("all is well", "document.getElementById('verdict').innerText === 'Nothing is wrong'")
        time.sleep(2)
        check(not asked(), "nobody is asked while the pane is closed")
        # By keys alone.
        window.js("document.querySelector('#paths summary').focus()")
        window.press(ENTER)
        words = "document.getElementById('paths-words').innerText"
        window.wait("both others are asked", f"{words}.includes('Of the others 2 have said') && {words}.includes('From w1, w2 every path is well')")
        check(window.js("document.querySelectorAll('#matrix tbody tr').length") == 1, "rows in which all is well are folded")
        window.js("document.getElementById('paths-all').focus()")
        window.press(ENTER)
        window.wait("and unfolded", "document.querySelectorAll('#matrix tbody tr').length === 3")
        window.press(ENTER)
        wire.cut.add((wire.ips[0], wire.ips[1]))
        cut = time.monotonic()
        cell = "document.querySelector('#matrix [data-row={}] [data-path=down] [aria-hidden]')?.innerText === '{}'"
        window.wait("w1 says that what it sends does not arrive", cell.format("w1", "O"), 60)
        window.wait("w2 that what w1 sends does not", cell.format("w2", "I"), 60)
        print(f"  a cut between two others is on the page after {time.monotonic() - cut:.1f} s")
        check(window.js("document.querySelectorAll('#matrix [data-row=w3] [data-path=up]').length") == 2, "the third reaches both")
        said = window.text("#paths-words")
        check("w2 does not answer w1: what w1 sends does not arrive there; reached through w3" in said, said)
        shots.take("paths")
        # It lives, as the first says, and nothing passes between it and the third.
        wire.cut = {(wire.ips[1], wire.ips[2]), (wire.ips[2], wire.ips[1])}
        window.wait("a row that does not answer says so", "document.querySelector('#matrix [data-row=w2][data-mute] th')?.innerText.includes('no answer')", 60)
        check(window.js("document.querySelectorAll('#matrix [data-row=w3] [data-path=down]').length") == 1, "our own row says it too")
        asked()
        began = time.monotonic()
        time.sleep(21)
        rounds = len([url for url in asked() if "from=w1" in url]) / (time.monotonic() - began)
        check(rounds <= 3 / 20, f"w1 is asked {rounds * 10:.1f} times in 10 s")
        window.js("document.querySelector('#paths summary').click()")
        time.sleep(1)
        asked()
        time.sleep(12)
        check(not asked(), "nobody is asked when it is closed again")


def a_thousand(cluster, window, shots):
    """1,000 members: how smooth it is, and what is said by an agent that is cut off or has not joined."""
    with Invented(1000, cluster.page()) as agent:
        for n in (17, 400, 808):
            agent.turn(n, "suspect")
            agent.turn(n, "down", "others have called it down")
        agent.turn(501, "suspect", "it does not answer")
        window.open(agent.url)
        window.wait("all are known", "document.getElementById('members-number').innerText === '1000'")
        check(window.js(f"{ROWS}.length") < 80, "as many rows as are seen")
        window.wait("the worst first", f"{ROWS}[0].innerText.startsWith('D')")
        shots.take("thousand")
        window.js(MEASURE)
        for n in range(100, 130):
            agent.turn(n, "suspect")
            time.sleep(0.05)
            agent.turn(n, "alive", "it has answered")
        said = window.js("measured")
        print(f"  1,000 members, 4 s of scrolling and 60 events: {said}")
        check(said["longest"] <= LONGEST_TASK, f"a task of {said['longest']} ms")
        window.js("document.getElementById('sort').focus()")
        window.press(TAB, END)
        window.wait("End leads to the last member", "document.activeElement.dataset.key === 'node-1000'")
        agent.mine["isolated"] = True
        agent.mine["findings"] = [finding("isolated", "most other members look silent at once", "look at this host's interface, cable and packet filter")]
        window.wait("isolated: it is this host", "document.getElementById('verdict').innerText === 'This host is isolated'")
        window.wait("nobody else is blamed", "document.getElementById('clauses').innerText.includes('US') && !document.getElementById('clauses').innerText.includes('THEM')")
        shots.take("isolated")
        agent.mine.update(isolated=False, joined=False, findings=[])
        window.wait("not joined", "document.getElementById('verdict').innerText === 'This host has not joined'")
        is_quiet(window, agent.url)


def finding(code, what, remedy):
    return {"code": code, "severity": "error", "of": None, "what": what, "remedy": remedy, "since": None}


# In ms. A machine may have other work: this finds a page that stands still, and no more.
LONGEST_TASK = 1000
MEASURE = """
var measured = new Promise(done => {
  const tasks = [], frames = [];
  new PerformanceObserver(list => tasks.push(...list.getEntries().map(one => one.duration))).observe({ type: 'longtask' });
  const scroller = document.getElementById('scroller'), began = performance.now();
  let last = began;
  requestAnimationFrame(function step(now) {
    frames.push(now - last);
    last = now;
    scroller.scrollTop = (scroller.scrollTop + 90) % (scroller.scrollHeight - scroller.clientHeight);
    if (now - began < 4000) return requestAnimationFrame(step);
    frames.sort((a, b) => a - b);
    const of = share => Math.round(frames[Math.floor((frames.length - 1) * share)]);
    done({ frames: frames.length, median: of(.5), p99: of(.99), worst: of(1), tasks: tasks.length, longest: Math.round(Math.max(0, ...tasks)) });
  });
}); 0
"""

STORIES = {"agent": served_by_the_agent, "web": served_by_web, "paths": who_reaches_whom, "thousand": a_thousand}

if __name__ == "__main__":
    main()

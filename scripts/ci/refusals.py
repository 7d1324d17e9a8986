"""What an agent must refuse: other clusters, wrong datagrams, impossible settings. Part of acceptance.py."""

import json
import re
import socket
import subprocess
import time

from harness import PORT, connect, follow, idle, key_file, shown


def clusters(lab, report, args):
    """Two clusters on the same hosts, each seeded at the other; then one takes over addresses of the other."""
    half = 8
    hosts = range(1, half + 1)
    seeds = [lab.address(1), lab.address(1, PORT + 1), lab.address(half), lab.address(half, PORT + 1)]
    blue = [lab.agent(f"blue{i}", lab.address(i), seeds, cluster="blue") for i in hosts]
    red = [lab.agent(f"red{i}", lab.address(i, PORT + 1), seeds, cluster="red") for i in hosts]
    began = time.monotonic()
    for agent in blue + red:
        agent.start()
    watches = [lab.watch(agent) for agent in blue + red]
    follow(watches, lambda w: w.alive() == half, 30, "eight members in each cluster")
    idle(watches, 5)
    # Addresses that the blue ones still know are red from now on.
    for i in (2, 3):
        blue[i - 1].kill()
    red += [lab.agent(f"red{i}more", lab.address(i), seeds, cluster="red") for i in (2, 3)]
    watches = [w for w in watches if w.agent.process.poll() is None]
    for agent in red[-2:]:
        agent.start()
        watches.append(lab.watch(agent))
    reds = [w for w in watches if w.agent in red]
    follow(reds, lambda w: w.alive() == half + 2, 30, "ten red members")
    idle(watches, 10)
    strangers = sum(not name.startswith(w.agent.name[:3]) for w in watches for name in w.view)
    report.row("members of the other cluster in any view", strangers, 0, strangers == 0)
    # The other side knows of the seeds and of the addresses that changed hands.
    dialled = ("blue1", f"blue{half}", "red1", f"red{half}", "red2more", "red3more")
    reached = [w.agent for w in watches if w.agent.name in dialled]
    refused = [agent.get("/v1/stats")["rejected"].get("other-cluster", 0) for agent in reached]
    counted = f"{sum(map(bool, refused))} of {len(reached)}, {sum(refused)} datagrams"
    report.row("agents dialled by the other side that counted it", counted, "all", all(refused))
    lines = [logged(agent, "other-cluster") for agent in reached]
    most = 1 + int((time.monotonic() - began) / 10)
    ok = 1 <= min(lines) and max(lines) <= most
    report.row("log lines about it at one agent", f"{min(lines)} .. {max(lines)}", f"1..{most}", ok)


def hostile(lab, report, args):
    """Datagrams that are wrong in every way, 200 of each."""
    flood = 200
    ears = [ear(lab, i) for i in (101, 102)]
    own = key_file(lab, "key"), key_file(lab, "other-key")
    plain = lab.agent("plain", lab.address(1), [lab.address(101)])
    keyed = lab.agent("keyed", lab.address(2), [lab.address(102)], flags=["--key-file", str(own[0])])
    neighbour = [lab.address(1), lab.address(2)]
    intruders = [
        lab.agent("elsewhere", lab.address(3), neighbour, cluster="elsewhere"),
        lab.agent("otherkey", lab.address(4), neighbour, flags=["--key-file", str(own[1])]),
        lab.agent("nokey", lab.address(5), [lab.address(2)]),
    ]
    for agent in (plain, keyed):
        agent.start()
    began = time.monotonic()
    frames = [each.recv(4096) for each in ears]
    for agent in (plain, keyed):
        agent.answers()
    for agent in intruders:
        agent.start()
    sick = {
        "not-ours": lambda frame: args.chance.randbytes(200),
        "truncated": lambda frame: frame[: args.chance.randrange(2, 8)],
        "oversized": lambda frame: frame + bytes(2000),
        "bad-checksum": lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
        "unauthentic": lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
        "newer-version": lambda frame: frame[:2] + b"\xff" + frame[3:],
    }
    victims = {"bad-checksum": [plain], "unauthentic": [keyed]}
    for reason, make in sick.items():
        for agent, frame in zip((plain, keyed), frames):
            if agent in victims.get(reason, (plain, keyed)):
                for _ in range(flood):
                    ears[0].sendto(make(frame), (agent.bind.rpartition(":")[0], PORT))
                    time.sleep(0.0005)
    time.sleep(4)
    for agent in intruders:
        agent.answers()
    both = ["not-ours", "truncated", "oversized", "newer-version", "other-cluster"]
    expected = {
        plain: [*both, "bad-checksum", "sealed-but-no-key"],
        keyed: [*both, "unauthentic", "unknown-key", "plain-but-keyed"],
    }
    most = 1 + int((time.monotonic() - began) / 10)
    for agent, reasons in expected.items():
        counts = agent.get("/v1/stats")["rejected"]
        for reason in reasons:
            least = flood if reason in sick else 1
            count, lines = counts.get(reason, 0), logged(agent, reason)
            report.row(f"{agent.name}: {reason}", f"{count} counted, {lines} in the log", f"≥ {least}, 1..{most}",
                       count >= least and 1 <= lines <= most)
        stray = {k: v for k, v in counts.items() if k not in reasons}
        report.row(f"{agent.name}: refused for other reasons", shown(stray) if stray else "none")
        strangers = {m["name"] for m in agent.get("/v1/members")["members"]} - {agent.name}
        report.row(f"{agent.name}: who got in", shown(strangers) or "none", "none", not strangers)


def startup(lab, report, args):
    """What keeps an agent from starting: a message, an exit code, and nothing lost."""
    first = lab.agent("first", lab.address(1), [], flags=["--tag", "role=web"])
    first.start()
    first.answers()
    files = {
        "unknown.toml": 'zone = "z"\nintervall = "1s"\n',
        "broken.toml": 'zone = "z"\ninterval = = "1s"\n',
        "value.toml": 'interval = "soon"\n',
    }
    for name, text in files.items():
        (lab.dir / name).write_text(text)

    def config(name):
        return ["--config", str(lab.dir / name)]

    nowhere = lab.address(200)
    cases = [
        ("unknown key in the file", config("unknown.toml"), 2, ["unknown.toml:2", 'did you mean "interval"']),
        ("file that is no TOML", config("broken.toml"), 2, ["broken.toml:2"]),
        ("wrong value in the file", config("value.toml"), 2, ["value.toml:1", "interval"]),
        ("file that is not there", config("none.toml"), 2, ["none.toml"]),
        ("taken port", ["--bind", first.bind], 1, [first.bind, "--bind"]),
        ("address of another host", ["--bind", "203.0.113.1:4327"], 1, ["203.0.113.1:4327", "--bind"]),
        ("taken socket", ["--socket", str(first.socket)], 1, [str(first.socket), f"pid {first.process.pid}"]),
        ("taken state directory", ["--state-dir", str(lab.dir / "first")], 1, [f"pid {first.process.pid}"]),
        # Not even root may write there.
        ("unwritable state directory", ["--state-dir", "/sys/heartsay"], 1, ["/sys/heartsay", "--state-dir"]),
        ("over-long name", ["--name", "n" * 129], 1, ["--name", "too long"]),
        ("over-large tag", ["--tag", "big=" + "v" * 769], 1, ["big", "768"]),
        ("no cluster id", ["--cluster", ""], 1, ["--cluster"]),
    ]
    before = first.get("/v1/self")["member"]
    for i, (what, flags, code, needles) in enumerate(cases):
        agent = lab.agent(f"case{i}", nowhere, [])
        # A flag given by the case replaces ours.
        for flag in flags[::2]:
            if flag in agent.command:
                at = agent.command.index(flag)
                del agent.command[at : at + 2]
        agent.command += flags
        agent.start()
        try:
            ended = agent.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            ended = "still running"
        said = agent.log.read_text(errors="replace")
        ok = ended == code and all(needle in said for needle in needles) and "panicked" not in said
        words = re.sub(r"(.)\1{9,}", r"\1..", (said.strip() or "nothing said").splitlines()[-1])
        words = words.replace(str(lab.dir), "DIR").removeprefix("heartsay: ")
        report.row(what, f"{ended}: {words}", f"exit {code}, names it", ok)
    seedless = lab.agent("seedless", nowhere, ["no-such-host.invalid"])
    seedless.start()
    seedless.answers()
    time.sleep(2)
    seen = seedless.get("/v1/self")["seeds"][0]
    told = logged(seedless, "no-such-host.invalid", word=False)
    report.row("unresolvable seed", f"runs; {told} log lines; {seen['error']}", "runs, says so",
               seedless.process.poll() is None and told >= 1 and bool(seen["error"]))
    status, answer = post(first, "/v1/tags", {"set": {"big": "v" * 769}})
    said = f"{status}: {answer.get('detail')}"
    report.row("over-large tag set at run time", said, "refused", 400 <= status < 500)
    after = first.get("/v1/self")["member"]
    kept = all(before[key] == after[key] for key in ("host_id", "generation", "tags"))
    report.row("the agent that was there before", "as before" if kept else f"{before} -> {after}", "as before", kept)


def logged(agent, text, word=True):
    """How many lines of its log name this reason."""
    wanted = f'reason="{text}"' if word else text
    return sum(wanted in line for line in agent.log.read_text(errors="replace").splitlines())


def ear(lab, i):
    """A UDP socket at address `i`, to hear what agents say to a seed."""
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind((lab.host(i), PORT))
    ear.settimeout(10)
    return ear


def post(agent, path, body):
    """Status and problem document."""
    body = json.dumps(body)
    with connect(agent.socket) as stream:
        head = f"POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\n"
        stream.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = b"".join(iter(lambda: stream.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body or b"{}")

"""What agent/tests/clients.rs asks of the Python client: SOCKET and then what to do."""

import json
import sys
import time

import heartsay


def main(socket, verb, *words):
    agent = heartsay.Agent(socket)
    if verb == "ask":
        one, other = words
        web = agent.members(tag="role=web", status=["alive", "suspect"], evidence=True)
        say(
            members=[m["name"] for m in agent.members()["members"]],
            web=[m["name"] for m in web["members"]],
            evidence=web["members"][0]["evidence"]["phi_threshold"],
            one=agent.member(one)["status"],
            other=agent.member(other),
            me=agent.self()["member"]["name"],
            quorum=agent.quorum()["quorum"],
            history=[e["type"] for e in agent.history(member=one, type="member-join")["entries"]],
            refused=refused(agent),
        )
    elif verb == "watch":
        for line in agent.watch(type=words):
            say(type=line["type"], index=line["index"], name=line.get("name"), generation=line.get("generation"))
    elif verb == "wait":
        try:
            agent.wait(lambda v: len(v.alive(role="db")) == int(words[0]) and v.joined and v.quorum_held, timeout=float(words[1]))
            print("met", flush=True)
        except TimeoutError:
            print("time is up", flush=True)
    elif verb == "register":
        try:
            agent.register(words[0], port=int(words[1]), tags={"v": "1"})
            time.sleep(600)
        except heartsay.Refused as error:
            print("refused", error.status, flush=True)
    elif verb == "guard":
        print("ended with", agent.guard(words, restart=True), flush=True)


def refused(agent):
    try:
        agent.members(status="wrong")
    except heartsay.Refused as error:
        return [error.status, error.detail]


def say(**what):
    print(json.dumps(what), flush=True)


main(*sys.argv[1:])

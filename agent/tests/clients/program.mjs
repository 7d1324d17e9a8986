// What agent/tests/clients.rs asks of the client for Node: SOCKET and then what to do.

import { Agent, Refused } from "./heartsay.mjs";

const [socket, verb, ...words] = process.argv.slice(2);
const agent = new Agent(socket);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

if (verb === "ask") {
  const [one, other] = words;
  const web = await agent.members({ tag: "role=web", status: ["alive", "suspect"], evidence: true });
  const refused = await agent.members({ status: "wrong" }).catch((error) => error);
  if (!(refused instanceof Refused)) throw refused;
  say({
    members: (await agent.members()).members.map((member) => member.name),
    web: web.members.map((member) => member.name),
    evidence: web.members[0].evidence.phi_threshold,
    one: (await agent.member(one)).status,
    other: await agent.member(other),
    me: (await agent.self()).member.name,
    quorum: (await agent.quorum()).quorum,
    history: (await agent.history({ member: one, type: "member-join" })).entries.map((entry) => entry.type),
    refused: [refused.status, refused.detail],
  });
} else if (verb === "watch") {
  for await (const { type, index, name, generation } of agent.watch({ type: words })) {
    say({ type, index, name, generation });
  }
} else if (verb === "wait") {
  const signal = AbortSignal.timeout(Number(words[1]) * 1000);
  const condition = (view) => view.alive({ role: "db" }).length === Number(words[0]) && view.joined && view.quorumHeld;
  try {
    await agent.wait(condition, { signal });
    console.log("met");
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    console.log("time is up");
  }
} else if (verb === "register") {
  await agent.register({ name: words[0], port: Number(words[1]), tags: { v: "1" } }).catch((error) => console.log("refused", error.status));
} else if (verb === "guard") {
  console.log("ended with", await agent.guard(words, { restart: true }));
}

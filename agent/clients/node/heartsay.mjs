// Who is in the cluster and who is alive, by the agent of this host. Node's own modules only; Node 18 or later.
//
//   import { Agent } from "./heartsay.mjs";
//   const agent = new Agent();
//   console.log((await agent.members({ tag: "role=web", status: "alive" })).members.map((m) => m.name));
//   for await (const line of agent.watch()) console.log(line.type, line.name);
//
// Answers are the JSON of the agent (docs/openapi.yaml); fields may be added.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** No agent answers: it is not there, is stopping, or stands still. */
export class NoAgent extends Error {}

/** The agent says no: `status` and `detail` say why. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    Object.assign(this, { status, detail });
  }
}

/**
 * The agent at a Unix socket (a path), or at `http://HOST:PORT` (reads only). Without an address: that of HEARTSAY_SOCKET, or the
 * first of the usual sockets that exists.
 */
export class Agent {
  constructor(address) {
    const usual = ["/run/heartsay/heartsay.sock", `${process.env.XDG_RUNTIME_DIR}/heartsay.sock`];
    this.address = address || process.env.HEARTSAY_SOCKET || usual.find((path) => existsSync(path)) || usual[0];
  }

  /** All members, or those of these statuses that have all these tags. `members` is the list; see `joined` and `isolated`. */
  async members({ status = [], tag = [], evidence = false } = {}) {
    return this.#get("/v1/members", query({ status, tag, evidence: evidence ? "true" : [] }));
  }

  /** One member, with its evidence; null if no member has this name. */
  async member(name) {
    try {
      return await this.#get(`/v1/members/${encodeURIComponent(name)}`);
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }

  /** The agent, and its cluster as a whole. */
  async self() {
    return this.#get("/v1/self");
  }

  /** Whether this agent stands on the side that may act. Count `left_seconds` from before the call, by performance.now(). */
  async quorum(options = {}) {
    return this.#get("/v1/quorum", "", options);
  }

  /** What happened in the last days, `entries` the oldest first; `since` and `until` in RFC 3339. 409: the agent keeps none. */
  async history({ member = [], type = [], since = [], until = [], limit = 1000 } = {}) {
    return this.#get("/v1/history", query({ member, type, since, until, limit }));
  }

  /**
   * Registers a service of this host, { name, id, port, address, tags }, until `signal` aborts or this process ends in any way; again
   * when the agent is back after a restart. It rejects when the agent refuses, or with the reason of the signal.
   */
  async register(service, { signal } = {}) {
    for (;;) {
      try {
        const options = { limit: SILENCE, signal, body: JSON.stringify({ ...service, hold: true }) };
        for await (const _ of lines(await this.#ask("/v1/services", "", options)));
      } catch (error) {
        if (error instanceof Refused && !LATER.includes(error.status)) throw error;
      }
      signal?.throwIfAborted();
      await sleep(RETRY, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  /**
   * Yields a snapshot and then each change, for ever, also over breaks and restarts of the agent.
   *
   * After a break it goes on behind the last line. Where that cannot be (another life of the agent, or more events than it
   * keeps), it yields a line of type "lagged" and then a new snapshot: start over from that. With `since` (and the `generation` of
   * that snapshot) it resumes, without the snapshot. A snapshot at the start comes whatever the filter. An abort of `signal`
   * ends it with its reason.
   */
  async *watch({ type = [], status = [], tag = [], since, generation, signal } = {}) {
    const filters = query({ type: type.length ? ["snapshot", type].flat() : [], status, tag });
    for (;;) {
      const point = query({ since: since ?? [], generation: since === undefined ? [] : (generation ?? []) });
      try {
        const response = await this.#ask("/v1/watch", [filters, point].filter(Boolean).join("&"), { limit: SILENCE, signal });
        for await (const line of lines(response)) {
          if (line.type === "snapshot") generation = line.generation;
          since = line.index;
          yield line;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error.status === 410 && since !== undefined) {
          yield { type: "lagged", index: since, time: new Date().toISOString() };
          since = generation = undefined;
          continue;
        }
        if (!(error instanceof NoAgent) && !LATER.includes(error.status)) throw error;
      }
      await sleep(RETRY, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }

  /**
   * Waits until `condition(view)` is true, and resolves to the view. See View; an abort of `signal` ends it. For example:
   * agent.wait((view) => view.alive({ role: "web" }).length >= 3 && view.quorumHeld, { signal: AbortSignal.timeout(60_000) })
   */
  async wait(condition, { signal } = {}) {
    const view = new View();
    for await (const line of this.watch({ signal })) {
      view.take(line);
      if (["snapshot", "self", "idle"].includes(line.type)) {
        // No line says all of it. Asked after the stream is open, so nothing falls between.
        const me = await this.self().catch(() => null);
        if (me) Object.assign(view, { joined: me.joined, isolated: me.isolated });
        view.quorum = me?.quorum;
      }
      if (view.members.size && view.quorum && condition(view)) return view;
    }
  }

  /**
   * Runs `command` (an array) once quorum is held, and only while it is; resolves to its exit code (of a signal, its name), or to
   * null when quorum was lost.
   *
   * It reads /dev/null, ends with 127 where there is no such program, and runs in a session of its own, whose process group gets SIGTERM, and SIGKILL after `grace` seconds: when quorum is lost,
   * when the agent does not answer or its proof runs out, when the command ends, and when this process ends in any way. With
   * `restart` it starts again when quorum is back. It is advisory: a host that stands still cannot stop itself. See
   * docs/clients.md, and `heartsay exec --watchdog`.
   */
  async guard(command, { grace = 5, restart = false, ...options } = {}) {
    for (;;) {
      const sight = new Sight(this);
      while (!(await sight.look())) await sleep(ASK);
      // Ends the group when its input ends, so also when this process ends, however it does.
      const keeper = spawn("/bin/sh", ["-c", KEEP, `${Math.floor(grace / 0.05)}`], { stdio: ["pipe", "ignore", "ignore"], detached: true });
      const kept = ended(keeper);
      keeper.stdin.on("error", () => {});
      try {
        const input = { stdio: [keeper.stdin, "inherit", "inherit"] };
        const end = ended(spawn("/bin/sh", ["-c", START, "sh", ...command], { ...input, ...options, detached: true }));
        const stop = new AbortController();
        const lost = sight.lost(stop.signal);
        try {
          const code = await Promise.race([end, lost]);
          if (code !== null || !restart) return code;
        } finally {
          stop.abort();
        }
      } finally {
        keeper.stdin.end();
        await kept;
      }
    }
  }

  async #get(path, query = "", options = {}) {
    return JSON.parse(await text(await this.#ask(path, query, { limit: 10_000, ...options })));
  }

  /** The answer, if it is a good one. A connection on which nothing comes for `limit` milliseconds is given up. */
  async #ask(path, query, { limit, signal, body }) {
    const at = this.address.startsWith("http://")
      ? { host: new URL(this.address).hostname.replace(/^\[|\]$/g, ""), port: new URL(this.address).port || 80 }
      : { socketPath: this.address.replace(/^unix:(\/\/)?/, ""), host: "heartsay" };
    const response = await new Promise((resolve, reject) => {
      const asked = { path: query ? `${path}?${query}` : path, method: body ? "POST" : "GET" };
      const request = http.request({ ...at, ...asked, agent: false, timeout: limit, signal }, resolve).end(body);
      request.on("timeout", () => request.destroy(new Error(`nothing for ${limit} ms`)));
      request.on("error", (error) => reject(new NoAgent(`no agent answers at ${this.address}: ${error.message}`)));
    });
    if (response.statusCode === 200) return response;
    const said = await text(response);
    const isProblem = response.headers["content-type"] === "application/problem+json";
    throw new Refused(response.statusCode, isProblem ? JSON.parse(said).detail : response.statusMessage);
  }
}

/** The members and this agent, as the lines of the stream tell of them. */
export class View {
  members = new Map();
  quorum;
  joined = false;
  isolated = false;

  get quorumHeld() {
    return this.quorum?.quorum === "held";
  }

  /** Members that are alive and have these tags. */
  alive(tags = {}) {
    const has = (member) => Object.entries(tags).every(([key, value]) => member.tags?.[key] === value);
    return [...this.members.values()].filter((member) => member.status === "alive" && has(member));
  }

  take({ type, name, members = [], quorum, ...line }) {
    this.quorum = quorum ?? this.quorum;
    if (type === "snapshot" || type === "lagged") {
      this.members = new Map(members.map((member) => [member.name, member]));
    } else if (type === "member-forgotten") {
      this.members.delete(name);
    } else if (type.startsWith("member-")) {
      const { generation, status, fenced, address, tags, zone = null } = line;
      const described = tags ? { address, tags, zone } : {};
      this.members.set(name, { ...this.members.get(name), name, generation, status, fenced, ...described });
    }
  }
}

/** Quorum as the guard sees it: held, by a proof that is good until a moment. */
class Sight {
  constructor(agent) {
    this.agent = agent;
    this.until = performance.now() + ANSWER;
  }

  async look() {
    const before = performance.now();
    const first = this.since === undefined;
    const limit = AbortSignal.timeout(Math.max(first ? ANSWER : Math.floor(this.until - before), 1));
    try {
      const quorum = await this.agent.quorum({ signal: limit });
      this.until = before + Math.min((quorum.left_seconds ?? Infinity) * 1000, ANSWER);
      const unbroken = first || this.since === quorum.since;
      this.since = quorum.since;
      return quorum.quorum === "held" && unbroken && performance.now() < this.until;
    } catch (error) {
      // Too many callers: that says nothing of quorum.
      return !first && LATER.includes(error.status) && performance.now() < this.until;
    }
  }

  /** Resolves to null when quorum is not held any more, or not known to be. */
  async lost(signal) {
    while (!signal.aborted && (await this.look())) {
      await sleep(Math.min((this.until - performance.now()) / 2, ASK), undefined, { signal }).catch(() => {});
    }
    return null;
  }
}

/** Whole lines until the stream breaks off; what follows the last line end is no line. */
async function* lines(response) {
  let rest = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) {
      const all = (rest + chunk).split("\n");
      rest = all.pop();
      for (const line of all) yield JSON.parse(line);
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
  } finally {
    response.destroy();
  }
}

async function text(response) {
  try {
    let body = "";
    for await (const chunk of response.setEncoding("utf8")) body += chunk;
    return body;
  } catch (error) {
    throw new NoAgent(`the answer broke off: ${error.message}`);
  }
}

function ended(child) {
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? signal));
  });
}

function query(filters) {
  const pairs = Object.entries(filters).flatMap(([key, values]) => [values].flat().map((value) => [key, value]));
  return new URLSearchParams(pairs).toString();
}

const SILENCE = 30_000; // Twice as long as the agent is ever silent.
const RETRY = 200; // Between two tries to find an agent.
const ASK = 500; // How often the guard asks, and how long an answer of the agent counts at most.
const ANSWER = 2000;
const LATER = [503, 504]; // Asking again may help.
// The keeper knows of the command before it begins.
const START = 'echo $$ >&0; exec "$@" </dev/null';
const KEEP = `read g; read _; [ "$g" ] || exit; exec 2>/dev/null; kill -TERM -"$g"; kill -CONT -"$g"; n=$0
while kill -0 -"$g" && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done; kill -KILL -"$g"`;

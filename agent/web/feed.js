// From the agent to the page: looks now and then, and the stream of events, which says when to look again.

/** An answer takes longer only where something is wrong. */
const PATIENCE = 6000;
/** Twice as long as the agent is ever silent on the stream. */
const SILENCE = 30000;
/** Between two looks in a small cluster, and while nobody sees the page. */
const LOOK = 2000, UNSEEN = 30000;
/** Events of the past that are read at the start. */
const PAST = 300;
/** Between two tries for a stream that the agent has no place for. */
const REFUSED = 10000;
/** Between two tries to find an agent, at first and at most. */
const SHORTEST = 250, LONGEST = 2000;

/** Why there is no answer: in words, and with what the host shows. */
class NoAnswer extends Error {
  constructor(message, status = 0, findings = []) {
    super(message);
    this.status = status;
    this.findings = findings;
  }
}

class Feed {
  /** `token`: as `heartsay web` asks for it; none where the agent serves the page itself. */
  constructor(token, take) {
    Object.assign(this, { token, take, last: 0, members: 0, told: null, due: Infinity, wake: () => {}, wantsAll: true });
  }

  /** For as long as the page is open. */
  async run() {
    let pause = SHORTEST;
    for (;;) {
      const began = Date.now();
      try {
        await this.live();
      } catch (error) {
        const known = error instanceof NoAnswer ? error : new NoAnswer(String(error?.message ?? error));
        this.take.away(known);
      }
      if (Date.now() - began > LONGEST) pause = SHORTEST;
      await this.sleep(pause);
      pause = Math.min(LONGEST, pause * 2);
    }
  }

  /** Looks and listens until there is no answer. */
  async live() {
    this.wantsAll = true;
    const looked = await this.look();
    const stop = new AbortController();
    let broken = null;
    this.follow(looked, stop.signal).catch(error => { broken = error; this.wake(); });
    try {
      for (let turn = 1; ;) {
        await this.sleep(Math.max(0, Math.min(this.due, this.last + this.interval()) - Date.now()));
        if (broken) throw broken;
        if (Date.now() < Math.min(this.due, this.last + this.interval())) continue;
        this.wantsAll ||= turn++ % 3 === 0;
        await this.look();
      }
    } finally {
      stop.abort();
    }
  }

  /** Listens; where the agent has no place for one more stream, looks alone have to do until it has. */
  async follow(looked, signal) {
    for (;;) {
      try {
        await this.listen(looked, signal);
      } catch (error) {
        if (error.status !== 503 || signal.aborted) throw error;
        this.take.unheard(error.message);
        await new Promise(done => setTimeout(done, REFUSED));
      }
    }
  }

  /** The more there is to read, the longer. */
  interval() {
    if (document.hidden) return UNSEEN;
    return Math.min(LOOK * 5, Math.max(LOOK, LOOK * this.members / 400));
  }

  /** Whether what is known is older than it should be: then it is not shown as what is. */
  isStale() { return this.last > 0 && Date.now() - this.last > this.interval() + PATIENCE + 1000; }

  sleep(ms) {
    return new Promise(done => {
      const timer = setTimeout(done, ms);
      this.wake = () => { clearTimeout(timer); done(); };
    });
  }

  /** Soon, together with what follows from the same cause. */
  soon(all = false) {
    this.wantsAll ||= all;
    this.due = Math.min(this.due, Math.max(this.last + this.interval() / 4, Date.now() + 150));
    this.wake();
  }

  async look() {
    const all = this.wantsAll;
    this.due = Infinity;
    const [me, view] = await Promise.all([this.get('v1/self'), this.get('v1/members')]);
    let slower = null;
    if (all) {
      const [paths, services] = await Promise.all([this.get('v1/paths'), this.get('v1/services').catch(ifNone({ services: [] }))]);
      slower = { paths: paths.paths, services: services.services };
      this.wantsAll = false;
    }
    this.last = Date.now();
    this.members = view.members.length;
    this.take.facts(me, view, slower);
    return { generation: me.member.generation, index: view.index };
  }

  /** Reads the stream behind the last line that was read, or with some of the past. */
  async listen(looked, signal) {
    let since = Math.max(0, looked.index - PAST);
    if (this.told?.generation === looked.generation) since = this.told.index;
    else this.told = null;
    const open = from => this.ask(`v1/watch?since=${from}&generation=${looked.generation}`, signal, 'application/x-ndjson');
    const answer = await open(since).catch(error => {
      // It does not keep as much; what the page has not read it has seen by the look before.
      if (error.status !== 410) throw error;
      if (this.told) this.take.line({ type: 'lagged', index: looked.index, time: new Date().toISOString() });
      return open(looked.index);
    });
    this.take.unheard('');
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const timer = setTimeout(() => reader.cancel(), SILENCE);
      const { value, done } = await reader.read().catch(() => ({ done: true }));
      clearTimeout(timer);
      if (done) throw new NoAnswer('the agent has ended the stream of events: it is stopping, or the connection broke');
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const text of lines) if (text.trim()) this.line(JSON.parse(text), looked.generation);
    }
  }

  line(line, generation) {
    this.told = { generation, index: line.index };
    this.take.line(line);
    // After `lagged` comes a snapshot, and nothing tells what was missed: all is asked for anew.
    if (line.type === 'lagged' || line.type === 'link' || line.type.startsWith('service-')) this.soon(true);
    else if (line.type !== 'idle' && line.type !== 'snapshot') this.soon();
  }

  /** Asks for `path`, as JSON. */
  async get(path) {
    const answer = await this.ask(path, AbortSignal.timeout(PATIENCE), 'application/json');
    return answer.json().catch(() => { throw new NoAnswer('the answer broke off'); });
  }

  async ask(path, signal, accept) {
    const headers = this.token ? { accept, authorization: `Bearer ${this.token}` } : { accept };
    const answer = await fetch(path, { headers, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' }).catch(error => {
      if (error.name === 'TimeoutError') throw new NoAnswer(`the agent did not answer within ${PATIENCE / 1000} s`);
      const whom = this.token ? '`heartsay web` does not answer: it was ended, or the way to it is cut'
        : `no agent answers at ${location.host}: it is stopped, or the way to it is cut`;
      throw new NoAnswer(whom);
    });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    throw new NoAnswer(problem.detail ?? `the answer was ${answer.status}`, answer.status, problem.findings ?? []);
  }
}

/** In place of what an agent does not have, for it is older or set so. */
const ifNone = value => error => {
  if (error.status === 404 || error.status === 409) return value;
  throw error;
};

// All that is known, and when it is drawn. Facts and lines come in; the conclusions are those of fault.js and trouble.js.

const KEPT = 500;
/** Least time between two pictures. */
const FRAME = 200;

class Page {
  constructor(token) {
    Object.assign(this, {
      contact: { state: 'begun' }, me: null, members: [], byName: new Map(), troubles: [], paths: [], services: [], events: [], problems: [],
      verdict: { clauses: [], witness: '' }, skew: 0, pastDue: Infinity, notListening: '', life: 0, index: 0, habits: new Habits(), filter: () => true, sort: 'trouble', wanted: null,
    });
    this.past = new Past(Date.now());
    this.feed = new Feed(token, this);
    this.table = new MembersTable();
    this.reach = new Reach(this);
  }

  /** One look at the agent. */
  facts(me, view, slower) {
    const now = Date.now(), wasAway = this.contact.state === 'away', began = this.contact.state === 'begun';
    this.contact = { state: 'live', last: now };
    this.announce(wasAway ? `${me.member.name} answers again` : '');
    if (this.me && this.version !== me.version.version) this.outdated = true;
    this.version = me.version.version;
    Object.assign(this, { me, members: view.members, index: view.index, byName: new Map(view.members.map(member => [member.name, member])) });
    if (slower) {
      Object.assign(this, slower);
      this.usual = usualRtt(slower.paths);
      this.pathOf = new Map(slower.paths.map(path => [path.name, path]));
    }
    this.habits.look(view.members, now);
    if (began || this.life !== me.member.generation || now >= this.pastDue) this.readPast();
    this.life = me.member.generation;
    if (why.name !== null) why.ask();
    this.changed();
  }

  /** Something has happened. */
  line(line) {
    const at = Date.parse(line.time);
    // The agent's clock is not the browser's.
    if ((line.type === 'idle' || line.type === 'snapshot') && !Number.isNaN(at)) this.skew = at - Date.now();
    if (line.type === 'idle' || line.type === 'snapshot') return;
    const key = `${this.life} ${line.index} ${line.type}`;
    if (this.events.some(one => one.key === key)) return;
    this.habits.happened(line);
    this.past.add(line, this.life);
    const member = this.byName.get(line.name);
    if (member && line.index > this.index && line.type.startsWith('member-') && line.status && member.status !== line.status) {
      // The numbers follow with the next look.
      Object.assign(member, { status: line.status, since: line.time, phi: 0 });
      this.announce(`${line.name} is ${line.status}`);
    }
    if (line.type === 'quorum' && line.index > this.index && line.quorum) this.announce(`quorum ${line.quorum.quorum}`);
    this.events.unshift({ line, key });
    if (this.events.length > KEPT) this.events.pop();
    this.changed();
  }

  /** Why there is no stream, though the agent answers; empty when there is. */
  unheard(reason) {
    this.notListening = reason;
    this.changed();
  }

  /** There is no answer. */
  away(error) {
    const { contact } = this;
    this.contact = { state: 'away', last: contact.last, why: error.message, findings: error.findings, denied: error.status === 401 };
    this.changed();
  }

  /** The last hour, from the agent; without one what comes from now on. */
  async readPast() {
    const now = Date.now();
    this.pastDue = Infinity;
    try {
      const history = await this.feed.get(Past.path(now + this.skew));
      this.past.load(history, now + this.skew);
    } catch (error) {
      this.past.note = error.status === 404 ? 'this agent is too old to keep a history' : error.message;
      if (error.status !== 404 && error.status !== 409) this.pastDue = now + 60e3;
    }
    this.changed();
  }

  /** For those who listen: what has changed, at most once a second and in one sentence. */
  announce(text) {
    if (!text || this.unsaid?.includes(text)) return;
    (this.unsaid ??= []).push(text);
    if (this.unsaid.length > 1) return;
    setTimeout(() => {
      by('spoken').replaceChildren(el('span', {}, `${few(this.unsaid)}.`));
      this.unsaid = [];
    }, 1000);
  }

  changed() {
    if (this.frame) return;
    this.frame = setTimeout(() => { this.frame = null; requestAnimationFrame(() => this.draw()); }, Math.max(0, (this.drawn ?? 0) + FRAME - Date.now()));
  }

  /** Once a second: ages go on, and what is old is not shown as what is. */
  tick() {
    if (this.contact.state === 'live' && this.feed.isStale() && !document.hidden) this.away(new NoAnswer('the agent has not answered in time'));
    this.reach.tick();
    if (!document.hidden) this.draw();
  }

  draw() {
    const now = Date.now(), { me } = this;
    this.drawn = now;
    if (me) {
      this.troubles = this.members.map(member => troubleOf(member, this.pathOf?.get(member.name), this.usual ?? 0));
      this.problems = problemsOf(me, this.members, this.services);
      this.verdict = verdictOf(me, this.members, this.troubles, this.problems);
    }
    drawHead(this, now);
    drawAnswer(this, now);
    drawTiles(this);
    drawProblems(this, now);
    if (!me) return;
    this.drawMembers(now);
    drawStrip(this);
    drawEvents(this);
    drawLanes(this, now);
    drawServices(this);
    drawPaths(this);
    say(by('foot'), `heartsay ${me.version.version}, profile ${me.profile}, ${me.encrypted ? 'sealed with a key' : 'without a key'}, up ${ago((now + this.skew - Date.parse(me.started)) / 1e3)}. `
      + `Everything here is what ${me.member.name} says, and nothing can be changed here.${this.outdated ? ' The agent is of another version than when this page was loaded: load it anew.' : ''}`);
  }

  drawMembers(now) {
    const me = this.me.member.name, moment = now + this.skew;
    const shown = this.members.map((member, n) => ({ member, trouble: this.troubles[n] })).filter(({ member }) => this.filter(member) && (!this.wanted || member.status === this.wanted));
    shown.sort(this.order());
    say(by('members-number'), shown.length === this.members.length ? String(shown.length) : `${shown.length} of ${this.members.length}`);
    mark(by('table'), 'data-zones', this.members.some(member => member.zone) ? '' : null);
    const services = new Map();
    for (const service of this.services) {
      for (const one of service.instances) {
        const name = one.id ? `${service.name}/${one.id}` : service.name;
        services.set(one.member, [...services.get(one.member) ?? [], one.health === 'passing' ? name : `${name} ${one.health}`]);
      }
    }
    this.table.show(shown, (row, member, trouble) => {
      const silent = trouble === 'down' || member.status === 'left', path = this.pathOf?.get(member.name);
      say(row.letter, letterOf(member, trouble));
      say(row.status, member.status);
      say(row.button, member.name);
      say(row.zone, member.zone ?? '–');
      say(row.phi, silent || member.name === me ? '–' : member.phi.toFixed(1));
      say(row.line, this.habits.line(member.name, now));
      say(row.rtt, silent || typeof path?.rtt_ms !== 'number' ? '–' : brief(path.rtt_ms / 1e3));
      say(row.falls, this.habits.falls(member.name, moment));
      say(row.for, ago((moment - Date.parse(member.since)) / 1e3));
      const note = [remarks(member, me, path, trouble, this.usual ?? 0), (services.get(member.name) ?? []).join(', ')].filter(Boolean).join('; ');
      say(row.note, note);
      mark(row.note, 'title', note);
    });
  }

  order() {
    const rtt = one => this.pathOf?.get(one.member.name)?.rtt_ms ?? -1, names = (a, b) => natural(a.member.name, b.member.name);
    const trouble = (a, b) => RANK[a.trouble] - RANK[b.trouble] || (RANK[a.trouble] < 2 ? Date.parse(b.member.since) - Date.parse(a.member.since) : 0);
    const order = {
      trouble, name: () => 0, phi: (a, b) => b.member.phi - a.member.phi, rtt: (a, b) => rtt(b) - rtt(a),
      since: (a, b) => Date.parse(b.member.since) - Date.parse(a.member.since), zone: (a, b) => natural(a.member.zone ?? '', b.member.zone ?? '') || trouble(a, b),
    }[this.sort];
    return (a, b) => order(a, b) || names(a, b);
  }
}

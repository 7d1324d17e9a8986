// The last hour: from the history of the agent where it keeps one, and from the stream since then.

const HOUR = 3600e3;
/** Asked for beyond the hour, so that its beginning is known. */
const BEFORE = 600e3;
const TYPES = ['member-join', 'member-suspect', 'member-down', 'member-alive', 'member-left', 'member-restart', 'member-forgotten', 'quorum', 'self', 'left-out'];
const MOST = 20000;

class Past {
  constructor(now) {
    /** Ascending: `{ at, life, index, type, name, status }`. */
    this.entries = [];
    this.seen = new Set();
    /** Since when, and by whom it was kept. */
    this.since = now;
    this.by = 'page';
    this.note = '';
  }

  /** Where to ask. */
  static path(now) {
    const types = TYPES.map(type => `type=${type}`).join('&');
    return `v1/history?${types}&since=${new Date(now - HOUR - BEFORE).toISOString()}&limit=${MOST}`;
  }

  /** Takes in what the agent has kept. */
  load(history, now) {
    this.by = history.kept;
    const oldest = history.more ? Date.parse(history.entries[0]?.time) : Date.parse(history.oldest);
    this.since = Number.isNaN(oldest) ? now : oldest;
    const missing = history.damaged + history.left_out + history.entries.reduce((all, one) => all + (one.left_out ?? 0), 0);
    this.note = missing ? `; ${count(missing, 'event', 'events')} of it could not be kept` : '';
    for (const entry of history.entries) this.add(entry, entry.life, false);
    this.entries.sort((a, b) => a.at - b.at);
  }

  /** Takes in a line of the stream. */
  add(line, life, isLive = true) {
    const at = Date.parse(line.time);
    if (!TYPES.includes(line.type) || Number.isNaN(at)) return;
    const key = line.index ? `${life} ${line.index}` : `${line.time} ${line.type} ${line.name ?? ''}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    const status = line.type === 'quorum' ? line.quorum?.quorum : line.type === 'member-forgotten' ? 'forgotten' : line.status;
    const entry = { at, life, type: line.type, name: line.name, status, key };
    const behind = isLive ? this.entries.findLastIndex(one => one.at <= at) + 1 : this.entries.length;
    this.entries.splice(behind, 0, entry);
    if (this.entries.length > MOST) this.seen.delete(this.entries.shift().key);
  }

  /** What each member went through, the worst first; members to which nothing happened but that they came are only counted. */
  lanes(members, now) {
    const from = Math.max(now - HOUR, this.since), of = new Map();
    const quorum = { name: '', spans: [], marks: [], trouble: 0 };
    let life = this.entries[0]?.life;
    for (const one of this.entries) {
      if (one.life !== life) {
        // Another life of the agent: what the one before knew is not known any more, until it is told anew.
        life = one.life;
        for (const lane of [quorum, ...of.values()]) if (lane.spans.length) lane.spans.push({ at: Math.max(one.at, from), status: 'unknown' });
      }
      if (one.type === 'self' || one.type === 'left-out') continue;
      const lane = one.type === 'quorum' ? quorum : of.get(one.name) ?? { name: one.name, spans: [], marks: [], trouble: 0 };
      if (lane !== quorum) of.set(one.name, lane);
      if (!lane.spans.length && one.at > from) lane.spans.push({ at: from, status: BEFORE_IT[one.type] ?? 'unknown' });
      lane.spans.push({ at: Math.max(one.at, from), status: one.status ?? 'unknown' });
      if (one.at < from) continue;
      if (one.type === 'member-restart') lane.marks.push(one.at);
      if (one.type !== 'member-join' && one.type !== 'member-alive') lane.trouble++;
    }
    // What began in the hour goes on until now; of two at one moment the later counts.
    const close = lane => {
      lane.spans = lane.spans.filter((span, n) => span.at < (lane.spans[n + 1]?.at ?? now));
      lane.spans = lane.spans.filter((span, n) => span.status !== lane.spans[n - 1]?.status);
      lane.spans.forEach((span, n) => { span.until = lane.spans[n + 1]?.at ?? now; });
      return lane;
    };
    const isBad = member => member.status === 'down' || member.status === 'suspect';
    for (const member of members) {
      if (isBad(member) && !of.has(member.name)) of.set(member.name, { name: member.name, spans: [{ at: from, status: member.status }], marks: [], trouble: 1 });
    }
    const bad = new Set(members.filter(isBad).map(member => member.name));
    const all = [...of.values()].map(close).filter(lane => lane.trouble || bad.has(lane.name));
    all.sort((a, b) => bad.has(b.name) - bad.has(a.name) || b.trouble - a.trouble || natural(a.name, b.name));
    return { from, lanes: all, quorum: quorum.spans.length ? close(quorum) : null };
  }
}

/** What a member was before the first that is known of it. */
const BEFORE_IT = { 'member-suspect': 'alive', 'member-down': 'alive', 'member-left': 'alive', 'member-restart': 'alive' };

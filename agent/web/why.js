// The case of one member, in sentences, as `heartsay why NAME` tells it (agent/src/cli/why.rs).

const CHARGES = { silent: 'silence, also when asked', refused: 'its host says: no such process', degraded: 'alive, loses far more than others', unfit: 'alive, unfit: stay out until then' };

/** A life is numbered by the time at which it began; a wrong clock may have numbered it otherwise. */
function began(generation) {
  const at = new Date(generation);
  return Number.isNaN(at.getTime()) ? 'a time that its clock has wrong' : at.toISOString().replace(/\.\d+Z$/, 'Z');
}

/** What ends an accusation that stands up to heartbeat `basis`, in the time that it takes the member. */
function undoneBy(basis, member) {
  const beats = basis - member.heartbeat + 1, seconds = beats * (member.evidence?.mean_seconds ?? 0);
  return beats > 1 && seconds > 0 ? `${ago(seconds)} of heartbeats` : 'a heartbeat';
}

const why = {
  name: null,
  asked: 0,

  open(name) {
    if (!name) return;
    const dialog = by('why');
    this.name = name;
    by('why-body').filled = undefined;
    by('why-body').replaceChildren(el('p', {}, 'Asking …'));
    say(by('why-title'), `Why ${name}?`);
    if (!dialog.open) dialog.showModal();
    history.replaceState(null, '', `#why=${encodeURIComponent(name)}`);
    this.ask();
  },

  closed() {
    this.name = null;
    history.replaceState(null, '', location.pathname + location.search);
  },

  /** Asks again with each look, for as long as it is open. */
  async ask() {
    const { name } = this, turn = ++this.asked;
    if (name === null || !page.me) return;
    try {
      const member = await page.feed.get(`v1/members/${encodeURIComponent(name)}`);
      if (turn === this.asked && name === this.name) this.tell(member);
    } catch (error) {
      if (turn !== this.asked || name !== this.name) return;
      const words = error.status === 404 ? `No member is called ${name} any more.` : `No answer: ${error.message}`;
      fill(by('why-body'), words, () => [el('p', {}, words)]);
    }
  },

  tell(member) {
    const now = Date.now() + page.skew, since = stamp => stamp ? ago((now - Date.parse(stamp)) / 1e3) : '?';
    say(by('why-title'), `${member.name} is ${member.status}, for ${since(member.since)}`);
    const parts = this.parts(member, page.me, since);
    const body = by('why-body');
    fill(body, parts, () => parts.map(part => typeof part === 'string' ? el('p', {}, part)
      : part.title ? el('h3', {}, part.title)
        : el('table', {}, part.head && el('thead', {}, el('tr', {}, part.head.map(text => el('th', { scope: 'col' }, text)))), el('tbody', {}, part.rows.map(row => el('tr', {}, row.map(text => el('td', {}, text))))))));
  },

  parts(member, me, since) {
    const evidence = member.evidence, parts = [];
    const isSelf = member.name === me.member.name;
    parts.push(`As ${me.member.name} sees it. Its address is ${member.address}, and its agent started at ${began(member.generation)}.`
      + (member.fenced === true ? ' Fenced: the lease that it had has run out; it stood down or will never act on it.' : member.fenced === false ? ' Not fenced: it is not certain that its lease has run out.' : ''));
    if (isSelf) parts.push(`That is the agent that answers here; of itself it needs no evidence. Its local health is ${health(me.local_health)}; ${agreement(me)}.`);
    else {
      parts.push(...this.accusations(member, since), this.silence(member));
      if (!evidence?.last_words) parts.push(...this.pieces(member, since), this.contact(member, since));
      if (evidence?.outlook) parts.push(`What would change this: ${sentence(evidence.outlook)}`);
      parts.push(this.themOrUs(member, me));
    }
    const tags = Object.entries(member.tags);
    const facts = [['zone', member.zone], ['version', member.version], ['host id', member.host_id],
      ['load', member.load && `processor ${member.load.cpu_percent} %, memory free ${member.load.memory_free_percent} %, disk free ${member.load.disk_free_percent} %`],
      ...tags.map(([key, value]) => [`tag ${key}`, value])].filter(([, value]) => value);
    parts.push({ title: 'What it says of itself' }, { rows: facts });
    const events = page.events.filter(({ line }) => line.name === member.name).slice(0, 12);
    if (events.length) parts.push({ title: 'What happened to it' }, { head: ['UTC', ''], rows: events.map(({ line }) => [clock(Date.parse(line.time)), told(line)]) });
    return parts;
  },

  accusations(member, since) {
    const all = [...(member.evidence?.accusations ?? [])].sort((a, b) => natural(a.by, b.by));
    if (!all.length) {
      return [member.status === 'left' ? 'It said good-bye itself.'
        : member.evidence?.last_words ? 'Its host says that the process has ended: its last words, which need no witness.'
          : member.accusers.length ? `It is accused by ${few(member.accusers)}.` : 'Nobody accuses it.'];
    }
    return [{ title: count(all.length, 'member accuses it', 'members accuse it') }, {
      head: ['Accuser', 'Evidence', 'Since', 'Undone by', 'Weight'],
      rows: all.map(one => [one.by, CHARGES[one.kind] ?? one.kind, since(one.since), undoneBy(one.basis, member), one.weak ? 'weak: the accuser doubts itself' : one.proven ? 'proven' : 'not proven yet']),
    }];
  },

  silence(member) {
    const evidence = member.evidence;
    if (!evidence) return '';
    const habit = evidence.samples ? `it usually advances every ${brief(evidence.mean_seconds)} ± ${brief(evidence.deviation_seconds)} (learnt from ${count(evidence.samples, 'step', 'steps')})` : 'its habit is not learnt yet';
    const surprise = member.status === 'down' || member.status === 'left' ? '' : ` Surprise φ is ${member.phi.toFixed(1)}; from ${evidence.phi_threshold.toFixed(1)} on it is asked directly. Silence alone never accuses.`;
    return `Its heartbeat last advanced ${ago(evidence.silence_seconds)} ago; ${habit}.${surprise}`;
  },

  /** What this agent has found out itself. */
  pieces(member, since) {
    const found = member.evidence?.case;
    if (!found) return [];
    const asked = `Its witnesses are ${list(found.witnesses)}; a verdict needs ${found.needed} of them.`;
    if (!found.pieces.length) return [`This agent has no piece of evidence of its own against it. ${asked}`];
    const words = one => ({
      silence: 'its heartbeat is overdue', direct: count(one.count, 'question unanswered', 'questions unanswered'),
      indirect: count(one.count, 'helper’s question unanswered', 'helpers’ questions unanswered'), refused: 'its host refuses: no such process',
      link: `${count(one.count, 'recent question', 'recent questions')} unanswered while it lived`, flaps: `back from down ${count(one.count, 'time', 'times')} of late`,
    })[one.kind] ?? one.kind;
    return [{ title: `This agent’s own evidence: φ ${found.phi.toFixed(1)} (5 accuses, 8 testifies)` }, {
      head: ['Evidence', 'φ', 'By', 'Since', 'Last'],
      rows: found.pieces.map(one => [words(one), one.phi.toFixed(1), one.by.length ? list(one.by) : 'this agent', since(one.first), since(one.last)]),
    }, asked];
  },

  contact(member, since) {
    const { evidence } = member;
    const works = member.reachable === true ? 'Direct contact from here works'
      : member.reachable === null || member.reachable === undefined ? 'Direct contact from here has not been tried'
        : member.refused ? 'Direct contact from here fails: datagrams are refused though it lives, so by a packet filter (there, here or between), not by its process'
          : 'Direct contact from here fails';
    return `${works}${typeof evidence?.rtt_seconds === 'number' ? `, round trip ${brief(evidence.rtt_seconds)}` : ''}${evidence?.last_direct ? `; it last answered us ${since(evidence.last_direct)} ago` : ''}.`;
  },

  themOrUs(member, me) {
    const facts = `local health ${health(me.local_health)}, ${me.isolated ? 'isolated' : 'not isolated'}, ${agreement(me)}`;
    const isTrouble = member.status === 'suspect' || member.status === 'down';
    if (!isTrouble && member.reachable !== false) return `This agent: ${facts}.`;
    const verdict = me.outside ? 'Probably us: the others do not count this agent as a member just now; see heartsay status'
      : me.isolated ? 'Probably us: most others look silent too, so this agent holds its verdicts'
        : me.local_health >= IMPAIRED ? 'Possibly us: this host is slow itself'
          : me.findings.some(one => one.code === 'cut-off') ? 'Probably neither: this side is cut off, or most others have died; see heartsay doctor'
            : !isTrouble ? 'It lives, but not for us: others hear it. Look at the path between the two hosts'
              : me.peers_known > 0 && me.peers_agreeing * 2 < me.peers_known ? 'Unclear: most peers see the cluster differently just now'
                : 'Probably them: this agent is well';
    return `Them or us? ${verdict} (${facts}).`;
  },
};

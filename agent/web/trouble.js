// How bad a member is, so that the worst stand first. The rules are those of `heartsay top` (agent/src/cli/top/trouble.rs).

/** The worst first. */
const TROUBLES = ['down', 'suspect', 'cut', 'flapping', 'slow', 'well', 'left'];
const RANK = Object.fromEntries(TROUBLES.map((trouble, rank) => [trouble, rank]));
/** Of φ: one silence in a thousand is as long by chance. */
const LATE = 3;
const SPANS = 12, SPAN = 5;

/** What the last minutes were like, for each member. */
class Habits {
  constructor() { this.of = new Map(); }

  one(name) {
    let one = this.of.get(name);
    if (!one) this.of.set(name, one = { newest: 0, spans: new Array(SPANS).fill(null), fell: [], began: [], isDown: false });
    return one;
  }

  /** Takes in the members as they are now, and forgets the ones that have gone. */
  look(members, now) {
    const names = new Set(members.map(member => member.name)), at = Math.floor(now / 1000 / SPAN);
    for (const name of this.of.keys()) if (!names.has(name)) this.of.delete(name);
    for (const member of members) {
      if (member.status === 'down' || member.status === 'left') continue;
      const one = this.one(member.name), gone = Math.min(Math.max(at - one.newest, 0), SPANS);
      one.spans = [...one.spans.slice(gone), ...new Array(gone).fill(null)];
      one.newest = at;
      one.spans[SPANS - 1] = Math.max(one.spans[SPANS - 1] ?? 0, member.phi);
    }
  }

  /** Takes in what happened to a member. */
  happened(line) {
    const at = Date.parse(line.time);
    if (!line.name || Number.isNaN(at)) return;
    const remember = times => { times.push(at); if (times.length > 99) times.shift(); };
    if (line.type === 'member-suspect' || line.type === 'member-down') {
      const one = this.one(line.name);
      if (!one.isDown) remember(one.fell);
      one.isDown = true;
    } else if (line.type === 'member-restart') {
      const one = this.one(line.name);
      one.isDown = false;
      remember(one.began);
    } else if (line.type === 'member-alive' || line.type === 'member-join') {
      const one = this.of.get(line.name);
      if (one) one.isDown = false;
    }
  }

  within(times, now, seconds) { return times.filter(at => now - at <= seconds * 1000).length; }

  /** How often it stopped being alive, and began a new life, in the last hour: `2/1`. */
  falls(name, now) {
    const one = this.of.get(name);
    const fell = one ? this.within(one.fell, now, 3600) : 0, began = one ? this.within(one.began, now, 3600) : 0;
    return fell || began ? `${fell}, ${began}` : '–';
  }

  /** Marks for the last minute, the newest last; nothing before there are two. */
  line(name, now) {
    const one = this.of.get(name);
    if (!one || one.spans.filter(phi => phi !== null).length < 2) return '';
    const gone = Math.min(Math.max(Math.floor(now / 1000 / SPAN) - one.newest, 0), SPANS);
    const spans = [...one.spans.slice(gone), ...new Array(gone).fill(null)];
    return spans.map(phi => phi === null ? ' ' : '▁▂▃▄▅▆▇█'[Math.min(7, Math.floor(phi))]).join('');
  }
}

function isFar(path, usual) {
  const rtt = (path?.rtt_ms ?? 0) / 1e3;
  return rtt >= 0.1 && rtt >= usual * 10;
}

/** The round trip that half of the paths do not exceed, in seconds. */
function usualRtt(paths) {
  const all = paths.map(path => path.rtt_ms).filter(rtt => typeof rtt === 'number').sort((a, b) => a - b);
  return (all[Math.floor(all.length / 2)] ?? 0) / 1e3;
}

function troubleOf(member, path, usual) {
  if (member.status === 'down' || member.status === 'suspect' || member.status === 'left') return member.status;
  if (path?.state === 'down' || member.reachable === false) return 'cut';
  if (member.flapping) return 'flapping';
  return member.degraded || member.beating === false || member.phi >= LATE || isFar(path, usual) ? 'slow' : 'well';
}

/** `A`, `S`, `D`, `L`; `A!` for one that is alive and yet in trouble. */
const letterOf = (member, trouble) => (member.status[0] ?? '?').toUpperCase() + (['cut', 'flapping', 'slow'].includes(trouble) ? '!' : '');

/** What is unusual about a member, in words; empty where nothing is. */
function remarks(member, me, path, trouble, usual) {
  if (member.name === me) return 'this agent';
  const said = [];
  if (trouble === 'flapping') said.push('comes and goes');
  else if (trouble === 'slow' && member.phi >= LATE) said.push('its heartbeat is late');
  else if (trouble === 'slow' && isFar(path, usual)) said.push(`answers far later than others (usually ${brief(usual)})`);
  else if (trouble === 'cut' && member.reachable !== false) said.push('alive, but not reachable from here');
  if (typeof member.restarting_seconds === 'number') said.push(`restarting, waited for ${member.restarting_seconds.toFixed(0)} s more`);
  if (member.accusers.length) said.push(`accused by ${few([...member.accusers].sort(natural))}`);
  if (member.beating === false) said.push('its service does not beat');
  if (typeof member.kept_out_until === 'number') said.push(`kept out${typeof member.kept_out_seconds === 'number' ? ` for ${ago(member.kept_out_seconds)} of good behaviour` : ''}`);
  else if (member.degraded) said.push('degraded: loses far more than others');
  if (member.reachable === false && member.status === 'alive') {
    said.push(`alive, but not reachable from here${member.refused ? ': refused, by a packet filter' : ''}`);
  }
  if (member.fenced === true) said.push('fenced');
  if (member.fenced === false) said.push('not fenced yet');
  return said.join('; ');
}

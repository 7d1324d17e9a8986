// Words for people, the same as on the command line.

/** What would not show as itself is written out, so that no text of others hides, turns or forges anything. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u00a0\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0000}-\u{e0fff}]/gu;
const fit = text => String(text).replace(HIDDEN, one => `\\u{${one.codePointAt(0).toString(16)}}`);

const count = (n, one, many) => n === 1 ? `1 ${one}` : `${n} ${many}`;

/** `a, b, c`, or from the fourth on `a, b, c and 4 more`. */
const few = all => all.length > 3 ? `${all.slice(0, 3).join(', ')} and ${all.length - 3} more` : all.join(', ');

/** `a, b and c`. */
const list = all => all.length === 0 ? 'nobody' : all.length === 1 ? all[0] : `${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;

/** `n2` before `n10`. */
const natural = new Intl.Collator('en', { numeric: true }).compare;

/** A span of time in two figures that matter. */
function span(seconds) {
  const s = Math.max(0, Number.isFinite(seconds) ? seconds : 0);
  if (s < 9.95) return `${s.toFixed(1)}s`;
  const whole = Math.round(s), days = Math.floor(whole / 86400), hours = Math.floor(whole / 3600) % 24, minutes = Math.floor(whole / 60) % 60;
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${minutes}m${whole % 60}s`;
  if (whole < 86400) return `${hours}h${minutes}m`;
  return whole < 864000 ? `${days}d${hours}h` : `${days}d`;
}

/** Whole seconds, and from a minute on whole minutes: a figure that stands still is easier to read. */
function ago(seconds) {
  const s = Math.max(0, seconds);
  return s < 60 ? `${Math.floor(s)}s` : s < 3600 ? `${Math.floor(s / 60)}m` : span(s);
}

/** A short time as people measure such. */
const brief = seconds => seconds < 0.1 ? `${(seconds * 1e3).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;

/** `14:03:22` of a moment in UTC. */
const clock = ms => Number.isFinite(ms) ? new Date(ms).toISOString().slice(11, 19) : '?';

const sentence = text => /[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`;

/** `0 of 8, well`. */
const healthWord = score => score === 0 ? 'well' : score <= 2 ? 'a little slow' : score <= 5 ? 'slow' : 'impaired';
const health = score => `${score} of 8, ${healthWord(score)}`;

/** `37 of 40 peers share this view`. */
function agreement(me) {
  const { peers_agreeing: agreeing, peers_known: known } = me;
  if (!known) return 'no peer heard lately';
  return known === 1 ? `${agreeing} of 1 peer shares this view` : `${agreeing} of ${known} peers share this view`;
}

/** How the agent stands to the others. */
function standing(me) {
  if (me.leaving) return 'leaving';
  if (me.outside) {
    return {
      refused: 'refused: another living host has this name',
      clock: 'refused: this host’s clock is more than a day ahead of the others’',
      'kept-out': 'kept out: the others hold this member for down, though it runs',
      down: 'down: the others have called this member down',
    }[me.outside.why] ?? 'unanswered: no other member answers this one';
  }
  if (me.isolated) {
    return me.conditions.some(said => said.startsWith('datagrams from '))
      ? 'isolated: most others look silent, and datagrams are refused here; verdicts are held'
      : 'isolated: most others look silent, so probably it is this host; verdicts are held';
  }
  if (me.joined) return 'joined';
  if (!me.seeds.length) return 'alone: no seeds are configured, so it waits to be found';
  return me.seeds_heard > 0
    ? 'not joined yet: something came from a seed, but there is no complete view yet'
    : 'not joined yet: no seed has answered';
}

/** What has happened, as `heartsay watch` says it. */
function told(line) {
  const by = line.by?.length ? `, by ${few(line.by)}` : '';
  const reason = line.reason ? ` (${line.reason})` : '';
  const changed = line.changed?.length ? `: ${line.changed.join(', ')}` : '';
  const name = line.name ?? 'this agent';
  switch (line.type) {
    case 'self': return `this agent${changed}${by}${reason}`;
    case 'lagged': return 'events came faster than this page read them: some are not shown, and all was asked for anew';
    case 'left-out': return `${count(line.left_out ?? 0, 'event', 'events')} came too fast to be kept`;
    case 'quorum': return line.quorum ? `quorum ${line.quorum.quorum}: ${line.quorum.reason}` : 'quorum';
    case 'link': {
      const through = line.through?.length ? `, reached through ${few(line.through)}` : '';
      return `direct path to ${name} ${line.state ?? '?'}${through}${reason}`;
    }
  }
  if (line.service) {
    const id = line.service.id ? `/${line.service.id}` : '';
    return `${line.service.name}${id} on ${line.service.member} ${line.type.replace(/^service-/, '')}${reason}`;
  }
  const verb = line.type.replace(/^member-/, '');
  const status = line.status && line.status !== verb ? `: ${line.status}` : line.fenced === true ? ', fenced' : '';
  return `${name} ${verb}${status}${changed}${by}${reason}`;
}

// What is wrong and whose fault it is. The rules are those of `heartsay top` (agent/src/cli/top/fault.rs, problem.rs).

/** Where to look for what has this code; what is not here is in the settings of all. A test holds it against `top`. */
const WHOSE = {
  US: ' settings-refused unit-not-running agent-not-running socket-rights agent-hangs socket-removed duplicate-name clock-off advertised-address service-does-not-beat udp-blocked seeds-do-not-resolve isolated kept-out not-counted never-called state-directory neighbour-table-full datagrams-do-not-leave receive-buffer-small agent-slow export-failing names-held reload-refused agent-outdated ',
  THEM: ' port-silent refusals-filtered member-down member-flapping service-critical filter-rejects member-degraded ',
  PATH: ' cut-off seeds-unreachable mtu-hole one-way-link path-down no-route ',
};
const GLOSS = { US: 'this host', THEM: 'another host', PATH: 'what lies between', ALL: 'settings of all' };
/** Local health from which a person should look here first. */
const IMPAIRED = 4;
/** As `doctor` has it. */
const CRITICAL = 'service-critical';

const sideOf = code => Object.keys(WHOSE).find(side => WHOSE[side].includes(` ${code} `)) ?? 'ALL';

const badge = (side, severity) => el('span', { class: `whose ${severity}`, title: GLOSS[side] }, side, el('span', { class: 'unseen' }, `, ${GLOSS[side]}: `));

const found = one => ({ side: sideOf(one.code), severity: one.severity, code: one.code, of: one.of, what: one.what, remedy: one.remedy, since: one.since });

const warning = (side, what, remedy) => ({ side, severity: 'warning', code: '', of: null, what, remedy, since: null });

/** Whether what this agent says of others is worth little. */
const doubtsUs = me => me.isolated || me.leaving || Boolean(me.outside) || !me.joined;

/** One for each cause, the worst first, notes last. */
function problemsOf(me, members, services) {
  const ill = ailing(services, me.member.name);
  // Told below with what its check says, where that is known here.
  const told = one => one.code === CRITICAL && ill.some(other => other.code === CRITICAL && other.of === one.of);
  const all = me.findings.filter(one => one.severity !== 'note' && !told(one)).map(one => ({ ...found(one), side: sideHere(one, me, members) }));
  if (!me.findings.length) all.push(...me.conditions.map(said => warning('ALL', said, '')));
  if (!doubtsUs(me)) all.push(...suspects(members));
  all.push(...ill);
  return [...all, ...me.findings.filter(one => one.severity === 'note').map(found)];
}

/** A member far in the future is wrong itself where others agree with this host on the time: they are in its view. */
function sideHere(one, me, members) {
  const agrees = member => member.status === 'alive' && member.name !== me.member.name;
  return one.code === 'clock-off' && one.of && members.some(agrees) ? 'THEM' : sideOf(one.code);
}

/** Instances that are not well, on members that are. */
function ailing(services, me) {
  return services.flatMap(service => service.instances
    .filter(one => one.status === 'alive' && (one.health === 'warning' || one.health === 'critical'))
    .map(one => {
      const name = one.id ? `${service.name}/${one.id}` : service.name;
      const what = `${name} on ${one.member} is ${one.health}${one.text ? ` (${one.text})` : ''}, as its host says`;
      const remedy = `look at the program there; ${service.healthy} of ${service.known} are healthy`;
      return { ...warning(one.member === me ? 'US' : 'THEM', what, remedy), code: one.health === 'critical' ? CRITICAL : '', of: one.member };
    }));
}

function suspects(members) {
  const all = members.filter(member => member.status === 'suspect').sort((a, b) => natural(a.name, b.name));
  if (!all.length) return [];
  const [first] = all;
  const what = all.length > 1 ? `${all.length} members are suspect: ${few(all.map(one => one.name))}`
    : first.accusers.length ? `${first.name} is suspect, accused by ${few(first.accusers)}` : `${first.name} is suspect`;
  const one = warning('THEM', what, 'wait for the verdict: it clears, or is called down within seconds');
  return [all.length > 1 ? one : { ...one, of: first.name, since: first.since }];
}

/** One clause for each side that has a part in it, the likeliest first; and what speaks for this agent. */
function verdictOf(me, members, troubles, problems) {
  const clauses = [];
  const us = ourFault(me, problems);
  if (us) clauses.push(['US', us]);
  if (doubtsUs(me)) return { clauses, witness: '' };
  for (const [side, said] of [['THEM', theirFault(me, members, troubles, problems)], ['PATH', firstOf('PATH', problems)], ['ALL', firstOf('ALL', problems)]]) {
    if (said) clauses.push([side, said]);
  }
  const word = me.local_health === 0 ? 'well' : 'a little slow';
  // One trouble of one member, or of a few.
  const bad = TROUBLES.slice(0, 5).map(one => troubles.filter(trouble => trouble === one).length).filter(Boolean);
  return { clauses, witness: us ? '' : `this agent is ${word}; ${agreement(me)}`, alone: bad.length === 1 && bad[0] <= 3 };
}

function ourFault(me, problems) {
  if (me.leaving || me.outside || me.isolated) return standing(me);
  if (!me.joined) return firstOf('US', problems) || standing(me);
  if (me.local_health >= IMPAIRED) return `this host is slow itself: local health ${health(me.local_health)}`;
  return firstOf('US', problems);
}

function theirFault(me, members, troubles, problems) {
  const parts = [];
  for (const [trouble, word] of [['down', 'down'], ['suspect', 'suspect'], ['flapping', 'coming and going'], ['slow', 'slow']]) {
    const all = members.filter((_, n) => troubles[n] === trouble);
    if (!all.length) continue;
    const names = all.map(member => member.name).sort(natural);
    parts.push(names.length === 1 ? `${names[0]} ${word}` : `${names.length} ${word}${oneZone(all, members)} (${few(names)})`);
  }
  if (!parts.length) return firstOf('THEM', problems);
  // Those beyond a cut are not to blame for it.
  if (problems.some(problem => problem.code === 'cut-off')) return '';
  if (me.peers_known > 0 && me.peers_agreeing * 2 < me.peers_known) {
    parts.push('unclear yet: most peers see the cluster differently just now');
  }
  return parts.join(', ');
}

/** `, all in zone b`, where the others are elsewhere too. */
function oneZone(some, members) {
  const zone = some[0].zone;
  if (!zone || some.some(member => member.zone !== zone)) return '';
  if (!members.some(member => member.status === 'alive' && member.zone !== zone)) return '';
  const here = members.filter(member => member.status !== 'left' && member.zone === zone).length;
  return some.length === here ? `, the whole zone ${zone}` : `, all in zone ${zone}`;
}

/** The first that is wrong on that side, and how many more. */
function firstOf(side, problems) {
  const all = problems.filter(one => one.side === side && one.severity !== 'note');
  if (!all.length) return '';
  return all.length === 1 ? all[0].what : `${all[0].what}; ${count(all.length - 1, 'problem', 'problems')} more`;
}

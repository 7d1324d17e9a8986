// What is seen: the answer first, then whom it befell, then what happened.

/** Of the agent, its cluster and the moment, to be drawn: see `Page`. */
function drawAnswer(page, now) {
  const { me, contact } = page;
  const title = by('verdict');
  let look = null, said, clauses = [], witness = '';
  if (contact.state === 'begun') said = 'Asking the agent …';
  else if (contact.state === 'away') {
    look = 'bad';
    said = contact.denied ? 'This page may not ask' : me ? `No answer from ${me.member.name}` : 'No answer from the agent';
    clauses = [['US', contact.why.split('\n')[0], 'error']];
    witness = contact.denied ? contact.why
      : contact.last ? `Below is what it said last, at ${clock(contact.last + page.skew)} UTC, ${ago((now - contact.last) / 1e3)} ago: it may not be so any more. It is asked again until it answers.`
        : 'It is asked again until it answers.';
    if (contact.denied) clauses = [];
  } else {
    const { verdict } = page;
    const errors = new Set(page.problems.filter(one => one.severity === 'error').map(one => one.side));
    clauses = verdict.clauses.map(([side, text]) => [side, text, errors.has(side) || /\bdown\b/.test(text) ? 'error' : 'warning']);
    witness = verdict.witness;
    if (!clauses.length) {
      const notes = page.problems.length;
      look = 'well';
      said = 'Nothing is wrong';
      if (notes) witness += `; ${count(notes, 'note', 'notes')} below`;
    } else {
      const [side, text, severity] = clauses[0];
      look = severity === 'error' ? 'bad' : 'doubt';
      said = headline(page, side, text);
      // What the headline has said is not said twice.
      const { verdict: { alone } } = page;
      if (alone && side === 'THEM' && clauses.length === 1) {
        clauses = [[side, `Probably the other host: ${witness}.`, severity]];
        witness = '';
      }
    }
    witness = witness && `${witness[0].toUpperCase()}${witness.slice(1)}.`;
  }
  mark(by('answer'), 'data-look', look);
  if (contact.state !== 'begun' && title.textContent !== fit(said)) page.announce(said);
  say(title, said);
  fill(by('clauses'), clauses, () => clauses.map(([side, text, severity]) => el('li', {}, badge(side, severity), el('span', {}, text))));
  say(by('witness'), witness);
}

/** Few words; the clause below it says the rest. */
function headline(page, side, text) {
  const { me } = page;
  if (side === 'US') {
    if (me.leaving) return `${me.member.name} is leaving`;
    if (me.outside) return 'This host is not counted';
    if (me.isolated) return 'This host is isolated';
    if (!me.joined) return 'This host has not joined';
    return 'The trouble is here, on this host';
  }
  if (side === 'THEM') {
    const of = trouble => page.members.filter((_, n) => page.troubles[n] === trouble).map(member => member.name).sort(natural);
    for (const [trouble, is, are] of [['down', 'is down', 'are down'], ['suspect', 'is suspect', 'are suspect'], ['flapping', 'comes and goes', 'come and go'], ['slow', 'is slow', 'are slow']]) {
      const names = of(trouble);
      if (names.length) return names.length > 3 ? `${names.length} members ${are}` : `${list(names)} ${names.length === 1 ? is : are}`;
    }
    return 'The trouble is at another host';
  }
  return side === 'PATH' ? 'The trouble is between the hosts' : /quorum/.test(text) ? 'Quorum is not held' : 'The settings do not agree';
}

function drawHead(page, now) {
  const { me, contact } = page;
  mark(document.body, 'data-state', contact.state);
  mark(document.body, 'data-doubt', me && doubtsUs(me) ? '' : null);
  const word = contact.state === 'begun' ? 'asking the agent …'
    : contact.state === 'away' ? (contact.last ? `no answer for ${ago((now - contact.last) / 1e3)}` : 'no answer')
      : page.notListening ? `live by looks alone: ${page.notListening}` : `live, ${clock(now + page.skew)} UTC`;
  say(by('contact-word'), word);
  if (!me) return;
  fill(by('seat'), [me.cluster, me.member.name, me.member.address], () => [
    el('b', { class: 'm' }, me.cluster), ' as ', el('b', { class: 'm' }, me.member.name), ' sees it ', el('span', { class: 'm' }, ` ${me.member.address}`)]);
  const bad = page.members.filter((_, n) => page.troubles[n] !== 'well' && page.troubles[n] !== 'left').length;
  const lead = contact.state === 'away' ? 'no answer' : doubtsUs(me) ? 'this host in trouble' : bad ? `${bad} in trouble` : page.verdict.clauses.length ? 'in trouble' : 'well';
  const text = fit(`${lead} · ${me.cluster} – heartsay`);
  if (document.title !== text) document.title = text;
  drawIcon(contact.state === 'away' || page.verdict.clauses.length > 0, lead[0]);
}

/** The tab tells it too: a square for trouble, a ring where nothing is wrong. */
function drawIcon(isBad) {
  const shape = isBad ? '<rect x="2" y="2" width="12" height="12" fill="%23c4281f"/>' : '<circle cx="8" cy="8" r="5.5" fill="none" stroke="%232d8a57" stroke-width="3"/>';
  mark(by('icon'), 'href', `data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${shape}</svg>`);
}

function drawTiles(page) {
  const { me, members } = page;
  if (!me) return;
  const doubt = doubtsUs(me), of = status => members.filter(member => member.status === status).length;
  const [alive, suspect, down, left] = ['alive', 'suspect', 'down', 'left'].map(of);
  const quorum = me.quorum, used = quorum.electorate !== null && quorum.electorate !== undefined || quorum.expected !== null && quorum.expected !== undefined;
  const beside = doubt ? 'as it last knew, alone' : '';
  tile('alive', String(alive), beside || `of ${members.length - left}${left ? `, ${left} left` : ''}`, alive || doubt ? null : 'bad');
  const names = status => few(members.filter(member => member.status === status).map(member => member.name).sort(natural));
  tile('suspect', String(suspect), beside || names('suspect') || 'none accused', suspect && !doubt ? 'doubt' : null);
  tile('down', String(down), beside || names('down') || 'none', down && !doubt ? 'bad' : null);
  if (used) tile('quorum', quorum.quorum, `${quorum.present}${quorum.zones.length ? ' zones' : ''} here, ${quorum.needed} needed`, lookOf(quorum.quorum));
  else tile('quorum', 'not used', 'no electorate is set', 'none');
  const [word, more, look] = me.leaving ? ['leaving', 'says good-bye', 'doubt'] : me.outside ? ['not counted', standing(me), 'bad'] : me.isolated ? ['isolated', 'most others look silent', 'bad']
    : !me.joined ? ['not joined', standing(me).replace(/^[^:]*: /, ''), 'doubt'] : [healthWord(me.local_health), `health ${me.local_health} of 8${newsOf(me) || ' (0 is best)'}`, me.local_health >= IMPAIRED ? 'doubt' : me.local_health ? null : 'well'];
  tile('host', word, more, look);
}

/** How long news takes to reach this agent. */
function newsOf(me) {
  if (!me.news_delay) return '';
  const seconds = me.news_delay.median_seconds;
  return `, news in ${seconds < 0.01 ? '<0.01' : seconds.toFixed(2)} s`;
}

function tile(name, figure, words, look) {
  const at = document.querySelector(`[data-tile=${name}]`);
  say(at.querySelector('b'), figure);
  say(at.querySelector('small'), words);
  mark(at, 'data-look', look);
  mark(at, 'title', words);
}

function drawProblems(page, now) {
  const isAway = page.contact.state === 'away';
  // What `heartsay web` finds is its own text, of several lines.
  const all = isAway ? page.contact.findings.map(one => found({ ...one, what: one.what.replaceAll('\n', '. ') })) : page.problems;
  by('problems').hidden = !all.length;
  const ages = all.map(one => one.since ? ago((now + page.skew - Date.parse(one.since)) / 1e3) : '');
  const one = (problem, n) => el('li', {}, badge(problem.side, problem.severity),
    el('span', { class: 'what' }, el('span', { class: 'code' }, problem.code || problem.severity), problem.what, el('span', { class: 'aside' }, ages[n] && ` for ${ages[n]}`)),
    problem.remedy ? el('span', { class: 'remedy' }, el('b', {}, 'Do: '), problem.remedy) : null,
    page.byName.has(problem.of) ? caseOf(problem.of, `problem ${problem.code} ${problem.of}`, 'why?') : null);
  const list = by('problems').querySelector('ol'), rest = by('problems').querySelector('details');
  fill(list, [all.slice(0, FIRST), ages.slice(0, FIRST)], () => all.slice(0, FIRST).map(one));
  rest.hidden = all.length <= FIRST;
  say(rest.firstElementChild, `and ${count(all.length - FIRST, 'more', 'more')}`);
  fill(rest.lastElementChild, [all.slice(FIRST, MOST_PROBLEMS), ages], () => all.slice(FIRST, MOST_PROBLEMS).map((problem, n) => one(problem, n + FIRST))
    .concat(all.length > MOST_PROBLEMS ? [el('li', {}, el('span', {}, `and ${all.length - MOST_PROBLEMS} more: heartsay doctor`))] : []));
}

/** Problems that stand above the members, and all that are written out. */
const FIRST = 6, MOST_PROBLEMS = 100;

/** How surprising the silences are: a bar for each quarter of a digit, and where it matters. */
function drawStrip(page) {
  const { me, members } = page, most = 16, step = 0.25;
  if (!me) return;
  const asked = members.find(member => member.evidence)?.evidence.phi_threshold ?? me.member.evidence?.phi_threshold ?? 8;
  const all = members.filter(member => member.name !== me.member.name && member.status !== 'down' && member.status !== 'left');
  const bars = new Array(most / step).fill(0);
  for (const member of all) bars[Math.min(bars.length - 1, Math.max(0, Math.floor(member.phi / step)))]++;
  const highest = Math.max(1, ...bars);
  const limits = [[LATE, 'late'], [asked, 'asked directly']];
  fill(by('strip'), [bars, limits], () => [
    ...bars.flatMap((number, n) => {
      if (!number) return [];
      const from = n * step, bar = el('div', { class: `bar ${from >= asked ? 'bad' : from >= LATE ? 'doubt' : ''}` });
      bar.style.left = `${from / most * 100}%`;
      bar.style.height = `${Math.max(4, Math.sqrt(number / highest) * 74)}px`;
      return [bar];
    }),
    ...limits.map(([at, text]) => place(el('div', { class: 'limit' }, el('span', {}, `${text}, ${at}`)), at)),
    ...[0, 4, 8, 12, 16].map(at => place(el('span', { class: 'tick' }, at === 16 ? '16+' : String(at)), at)),
  ]);
  function place(node, at) { node.style.left = `${at / most * 100}%`; return node; }
  const top = all.reduce((a, b) => a && a.phi >= b.phi ? a : b, null);
  const late = all.filter(member => member.phi >= LATE).map(member => member.name).sort(natural);
  const words = !top ? 'No other member is watched.'
    : `${count(all.length, 'member', 'members')}, highest ${top.phi.toFixed(1)} (${top.name})${late.length ? `; late: ${few(late)}` : ''}. From ${asked} on a member is asked directly; silence alone never accuses. All evidence together accuses from 5 on and testifies from 8 on: why NAME.`;
  say(by('strip-words'), words);
  mark(by('strip'), 'aria-label', words);
}

function drawEvents(page) {
  const some = page.events.slice(0, 120);
  fill(by('events'), [some.length, some[0]?.key, page.events.length], () => some.length ? some.map(({ line, key }) =>
    el('li', {}, el('time', { datetime: line.time }, clock(Date.parse(line.time))),
      el('span', { 'data-look': lookOf(line.type === 'quorum' ? line.quorum?.quorum : line.service?.health ?? line.state ?? line.status) }, told(line)),
    )) : [el('li', {}, el('span', {}, 'Nothing has happened yet.'))]);
}

/** Lanes of those to whom something happened. */
function drawLanes(page, now) {
  const moment = now + page.skew, { from, lanes, quorum } = page.past.lanes(page.members, moment);
  // Of the hour, as much as is known.
  const minutes = [5, 15, 30].find(some => from >= moment - some * 60e3) ?? 60, wide = minutes * 60e3, whole = moment - wide;
  const some = lanes.slice(0, 24);
  const place = at => `min(${Math.max(0, (at - whole) / wide * 100)}%, 100% - 8px)`, width = span => `${(span.until - Math.max(span.at, whole)) / wide * 100}%`;
  const words = lane => lane.spans.filter(span => span.status !== 'unknown').map(span => `${span.status} from ${clock(span.at)} for ${ago((span.until - span.at) / 1e3)}`).join(', ');
  const one = (name, lane) => {
    const track = el('div', { class: 'track', role: 'img', 'aria-label': fit(`${name}: ${words(lane)}${lane.marks.length ? `; began a new life ${count(lane.marks.length, 'time', 'times')}` : ''}`) });
    for (const span of lane.spans) {
      const bar = el('div', { class: `span ${STATES.has(span.status) ? span.status : 'unknown'}`, title: `${span.status}, ${clock(span.at)} to ${clock(span.until)}` }, span.status === 'unknown' || span.until - span.at < wide / 40 ? '' : span.status[0].toUpperCase());
      bar.style.left = place(span.at);
      bar.style.width = width(span);
      track.append(bar);
    }
    for (const at of lane.marks) {
      const line = el('div', { class: 'mark', title: `a new life, ${clock(at)}` });
      line.style.left = place(at);
      track.append(line);
    }
    return [el('div', { class: 'who' }, lane.name ? caseOf(lane.name, `lane ${lane.name}`) : name), track];
  };
  const axis = () => {
    const row = el('div', { class: 'axis', 'aria-hidden': 'true' });
    for (let n = 0; n <= 5; n++) {
      const tick = el('span', {}, n === 5 ? 'now' : clock(whole + n * wide / 5).slice(0, 5));
      tick.style.left = `${n / 5 * 100}%`;
      row.append(tick);
    }
    return [el('div'), row];
  };
  say(by('lanes-title').firstChild, `The last ${minutes === 60 ? 'hour' : `${minutes} minutes`} `);
  // No more often than by a pixel or so.
  fill(by('lanes'), [Math.floor(moment / wide * 720), page.past.entries.length, some.map(lane => [lane.name, lane.spans.length]), page.past.by], () =>
    [...(quorum ? one('quorum here', quorum) : []), ...some.flatMap(lane => one(lane.name, lane)), ...axis()]);
  const since = clock(page.past.since);
  say(by('lanes-from'), page.past.by === 'page'
    ? `only since ${since} UTC, when this page was opened: ${page.past.note || 'the history has not been read yet'}`
    : `from the history of this agent${page.past.since > moment - HOUR ? `, which begins at ${since} UTC` : ''}${page.past.by === 'memory' ? '; kept in memory, for its disk takes no writes' : ''}${page.past.note}`);
  const rest = page.members.length - lanes.filter(lane => page.byName.has(lane.name)).length;
  say(by('lanes-rest'), `${lanes.length > some.length ? `${lanes.length - some.length} more with trouble. ` : ''}${rest === page.members.length ? `None of ${count(rest, 'member', 'members')} had trouble.` : `${count(rest, 'other member', 'other members')} without trouble.`}`);
}

const STATES = new Set(['alive', 'suspect', 'down', 'left', 'forgotten', 'held', 'lost', 'unsettled']);

function drawServices(page) {
  const { services } = page;
  say(by('services-number'), services.length ? count(services.length, 'service', 'services') : 'none is registered');
  fill(by('services'), services, () => services.slice(0, 200).map(service => {
    const bad = service.instances.filter(one => one.health !== 'passing' || one.status !== 'alive').sort((a, b) => natural(a.member, b.member));
    const good = service.instances.filter(one => !bad.includes(one)).map(one => one.member).sort(natural);
    return el('article', {}, el('h3', {}, service.name, el('span', {}, `${service.healthy} of ${service.known} healthy`)),
      el('ul', {}, bad.slice(0, 12).map((one, n) => el('li', { 'data-look': one.status === 'down' || one.health === 'critical' ? 'bad' : 'doubt' },
        caseOf(one.member, `service ${service.name} ${n}`), ` ${one.status === 'alive' ? one.health : `${one.health}, its member ${one.status}`}${one.text ? ` (${one.text})` : ''}`)),
      good.length ? el('li', { class: 'aside' }, `passing on ${good.length > 6 ? `${good.slice(0, 6).join(', ')} and ${good.length - 6} more` : list(good)}`) : null));
  }));
}

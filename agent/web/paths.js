// Who reaches whom, as far as this agent knows: its own row whole, and of others what they told when it asked them.
// An agent has no way to ask another for its paths: that row is on the other's own page.

/** Columns that a person can follow. */
const WIDEST = 60;

function drawPaths(page) {
  const panel = by('paths');
  if (!panel.open || !page.me) return;
  const me = page.me.member.name, rows = new Map([[me, new Map()]]);
  for (const path of page.paths) {
    rows.get(me).set(path.name, { state: path.state === 'up' && path.unanswered ? 'doubt' : path.state, words: pathWords(path, me) });
    for (const through of path.through) {
      if (!rows.has(through.name)) rows.set(through.name, new Map());
      rows.get(through.name).set(path.name, { state: 'up', words: `${through.name} reached ${path.name} ${ago(through.ms_ago / 1e3)} ago, when ${me} asked it to` });
    }
  }
  const rank = path => path.state === 'down' ? 0 : path.unanswered ? 1 : path.state === 'unknown' ? 2 : 3;
  const sorted = [...page.paths].sort((a, b) => rank(a) - rank(b) || natural(a.name, b.name));
  const columns = sorted.slice(0, WIDEST).map(path => path.name);
  const bad = page.paths.filter(path => path.state === 'down');
  const number = state => page.paths.filter(path => path.state === state).length;
  say(by('paths-words'), `Rows reach columns. ${me} reaches ${number('up')} of ${count(page.paths.length, 'member', 'members')} directly, ${number('down')} not though they live, and has not yet spoken with ${number('unknown')}. `
    + `${bad.length ? `${few(bad.map(path => pathWords(path, me)))}. ` : ''}`
    + `An agent knows its own paths, and which members reached one when it asked them; it cannot ask another for its row: open the page of that host.${sorted.length > WIDEST ? ` Shown are ${WIDEST} of ${sorted.length}, trouble first.` : ''}`);
  const letter = { up: '✓', down: '✗', doubt: '!', unknown: '·' };
  fill(by('matrix'), [me, columns, [...rows].map(([name, of]) => [name, columns.map(column => of.get(column)?.state)])], () => [el('table', {},
    el('caption', { class: 'unseen' }, 'Rows reach columns: yes, no, in doubt, or not known'),
    el('thead', {}, el('tr', {}, el('td'), columns.map(name => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, [...rows].map(([name, of]) => el('tr', {}, el('th', { scope: 'row' }, name), columns.map(column => {
      const cell = of.get(column), state = name === column ? 'self' : cell?.state ?? 'untold';
      const words = state === 'self' ? 'itself' : cell?.words ?? `not known to ${me}`;
      return el('td', { 'data-path': state, title: words }, el('span', { 'aria-hidden': 'true' }, letter[state] ?? ''), el('span', { class: 'unseen' }, words));
    })))))]);
}

function pathWords(path, me) {
  if (path.state === 'up') return `${me} reaches ${path.name}${typeof path.rtt_ms === 'number' ? `, round trip ${brief(path.rtt_ms / 1e3)}` : ''}${path.unanswered ? `; ${count(path.unanswered, 'question', 'questions')} unanswered` : ''}`;
  if (path.state === 'unknown') return `nothing has passed between ${me} and ${path.name} yet`;
  const fails = {
    out: `what ${me} sends does not arrive there`, in: 'what it sends does not arrive here', both: 'nothing arrives either way',
  }[path.direction] ?? 'direction not known';
  const through = path.through.map(one => one.name);
  return `${path.name} does not answer ${me}: ${fails}${through.length ? `; reached through ${few(through)}` : ''}`;
}

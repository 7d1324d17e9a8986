// Who reaches whom: the row of this agent, and those of other members, which it asks for while somebody looks.

/** Columns, and rows beside our own, that a person can follow. */
const WIDEST = 60, MOST_ASKED = 128;
/** Between the beginnings of two rounds of questions, and how many are open at once: a browser has six connections to one place, and the stream has one. */
const ROUND = 10000, AT_ONCE = 3;

/** What other members say of their paths: asked for only while the pane is open and seen. */
class Reach {
  constructor(page) {
    Object.assign(this, { page, rows: new Map(), began: -Infinity, isAsking: false, isOld: false, showsAll: false });
  }

  isWanted() { return by('paths').open && !document.hidden && this.page.contact.state === 'live' && !this.isOld; }

  /** Once a second. */
  tick() {
    if (!this.isAsking && this.isWanted() && Date.now() - this.began >= ROUND) this.round();
  }

  async round() {
    this.isAsking = true;
    this.began = Date.now();
    const names = this.whom().values();
    const ask = async () => {
      for (let next = names.next(); !next.done && this.isWanted(); next = names.next()) await this.ask(next.value);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    this.isAsking = false;
    this.page.changed();
  }

  /** Those with trouble first. */
  whom() {
    const { page } = this, me = page.me.member.name;
    const there = page.members.filter(member => member.name !== me && (member.status === 'alive' || member.status === 'suspect'));
    for (const name of this.rows.keys()) if (!there.some(member => member.name === name)) this.rows.delete(name);
    const isWell = member => member.status === 'alive' && page.pathOf?.get(member.name)?.state === 'up' && !this.rows.get(member.name)?.told?.paths.length;
    return there.sort((a, b) => isWell(a) - isWell(b) || natural(a.name, b.name)).slice(0, MOST_ASKED).map(member => member.name);
  }

  async ask(name) {
    try {
      this.rows.set(name, { told: await this.page.feed.get(`v1/paths?from=${encodeURIComponent(name)}`), error: '' });
    } catch (error) {
      // So an agent answers that cannot ask.
      if (error.status === 400) this.isOld = true;
      else if (error.status === 404) this.rows.delete(name);
      else this.rows.set(name, { told: this.rows.get(name)?.told, error: error.message });
    }
    this.page.changed();
  }
}

const isUnwell = path => path.state === 'down' || path.unanswered > 0;
const rankOf = path => path.state === 'down' ? 0 : path.unanswered ? 1 : path.state === 'unknown' ? 2 : 3;

function drawPaths(page) {
  const panel = by('paths');
  if (!panel.open || !page.me) return;
  const me = page.me.member.name, { reach } = page;
  const rows = new Map([[me, { paths: page.paths, well: 0, unknown: 0, error: '' }]]);
  for (const [name, { told, error }] of [...reach.rows].sort(([a], [b]) => natural(a, b))) {
    rows.set(name, { paths: told?.paths ?? [], well: told?.well, unknown: told?.unknown, isTold: Boolean(told), error });
  }
  const ranks = new Map([[me, 3], ...page.paths.map(path => [path.name, rankOf(path)])]);
  const bad = [];
  for (const [name, row] of rows) {
    if (name !== me) ranks.set(name, Math.min(ranks.get(name) ?? 3, row.error ? 1 : 3));
    for (const path of row.paths) {
      ranks.set(path.name, Math.min(ranks.get(path.name) ?? 3, rankOf(path)));
      if (path.state === 'down') bad.push(pathWords(path, name));
    }
  }
  const sorted = [...ranks.keys()].sort((a, b) => ranks.get(a) - ranks.get(b) || natural(a, b));
  const columns = sorted.slice(0, WIDEST);
  // Where all is well there is nothing to see.
  const isShown = ([name, row]) => name === me || reach.showsAll || row.error || row.paths.some(isUnwell);
  const shown = [...rows].filter(isShown), well = [...rows].filter(row => !isShown(row)).map(([name]) => name);
  const mute = [...rows].filter(([, row]) => row.error).map(([name]) => name);
  const number = state => page.paths.filter(path => path.state === state).length;
  say(by('paths-words'), `Rows reach columns. ${me} reaches ${number('up')} of ${count(page.paths.length, 'member', 'members')} directly, ${number('down')} not though they live, and has not yet spoken with ${number('unknown')}. `
    + (reach.isOld ? 'This agent is too old to ask others: their rows are on their own pages. '
      : `Of the others ${rows.size - 1 - mute.length} have said how they reach the rest${mute.length ? `; ${few(mute)} did not answer` : ''}. `)
    + `${bad.length ? `${few(bad)}. ` : ''}${well.length ? `From ${few(well)} every path is well. ` : ''}`
    + `${sorted.length > WIDEST ? `Shown are ${WIDEST} columns of ${sorted.length}, trouble first. ` : ''}✓ yes, ✗ nothing passes, O what the row sends does not arrive, I what the column sends does not, ! in doubt, · not known.`);
  mark(by('paths-all'), 'aria-pressed', String(reach.showsAll));
  const cells = shown.map(([name, row]) => [name, row.error, columns.map(column => cellOf(name, row, column, me))]);
  fill(by('matrix'), [me, columns, cells], () => [el('table', {},
    el('caption', { class: 'unseen' }, 'Rows reach columns: yes, no, in doubt, or not known'),
    el('thead', {}, el('tr', {}, el('td'), columns.map(name => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, cells.map(([name, error, of]) => el('tr', { 'data-row': name, 'data-mute': error ? '' : null },
      el('th', { scope: 'row', title: error || null }, name, error ? el('span', { class: 'aside' }, ' no answer') : null),
      of.map(({ state, letter, words }) => el('td', { 'data-path': state, title: words }, el('span', { 'aria-hidden': 'true' }, letter), el('span', { class: 'unseen' }, words)))))))]);
}

/** How the member of a row reaches that of a column, as the one of the row says. */
function cellOf(name, row, column, me) {
  if (name === column) return { state: 'self', letter: '', words: 'itself' };
  const path = row.paths.find(path => path.name === column);
  if (path && (name === me || path.state !== 'unknown' || path.unanswered)) {
    const words = pathWords(path, name);
    if (path.state === 'down') return { state: 'down', letter: { out: 'O', in: 'I' }[path.direction] ?? '✗', words };
    if (path.unanswered) return { state: 'doubt', letter: '!', words };
    return path.state === 'up' ? { state: 'up', letter: '✓', words } : { state: 'unknown', letter: '·', words };
  }
  if (name === me || !row.isTold) return { state: 'untold', letter: '', words: row.error || `not known to ${me}` };
  // Of the others it has told numbers alone.
  return row.unknown ? { state: 'unknown', letter: '·', words: `${name} says nothing against it` } : { state: 'up', letter: '✓', words: `${name} says that it reaches ${column}` };
}

function pathWords(path, from) {
  if (path.state === 'up') return `${from} reaches ${path.name}${typeof path.rtt_ms === 'number' ? `, round trip ${brief(path.rtt_ms / 1e3)}` : ''}${path.unanswered ? `; ${count(path.unanswered, 'question', 'questions')} unanswered` : ''}`;
  if (path.state === 'unknown') return `nothing has passed between ${from} and ${path.name} yet`;
  const fails = {
    out: `what ${from} sends does not arrive there`, in: `what it sends does not arrive at ${from}`, both: 'nothing arrives either way',
  }[path.direction] ?? 'direction not known';
  const through = path.through.map(one => one.name);
  return `${path.name} does not answer ${from}: ${fails}${through.length ? `; reached through ${few(through)}` : ''}`;
}

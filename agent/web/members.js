// The members, the worst first. Of a thousand, as many rows exist as are seen.

/** Rows beyond what is seen, on either side. */
const SPARE = 8;

class MembersTable {
  constructor() {
    this.scroller = by('scroller');
    this.body = by('table').tBodies[0];
    this.above = el('tr', { class: 'space', 'aria-hidden': 'true' }, el('td'));
    this.below = this.above.cloneNode(true);
    this.rows = [];
    this.shown = [];
    /** The name whose button can be reached by Tab. */
    this.at = null;
    this.body.append(this.above, this.below);
    this.scroller.addEventListener('scroll', () => { this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); }); }, { passive: true });
    this.body.addEventListener('keydown', event => this.key(event));
    this.body.addEventListener('focusin', event => { this.at = event.target.dataset.key ?? this.at; });
  }

  /** Lays out `shown`: `{ member, trouble }` in the order in which they are shown. */
  show(shown, draw) {
    this.shown = shown;
    this.fillRow = draw;
    if (!shown.some(one => one.member.name === this.at)) this.at = shown[0]?.member.name ?? null;
    mark(by('table'), 'aria-rowcount', String(shown.length + 1));
    this.draw();
  }

  height() { return parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row')) || 30; }

  draw() {
    const height = this.height(), { scrollTop, clientHeight } = this.scroller;
    const room = Math.ceil((clientHeight || 600) / height) + 2 * SPARE;
    const first = Math.max(0, Math.min(Math.floor(scrollTop / height) - SPARE, this.shown.length - room));
    const some = this.shown.slice(first, first + room);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    while (this.rows.length < some.length) this.rows.push(this.row());
    while (this.rows.length > some.length) this.rows.pop().row.remove();
    some.forEach(({ member, trouble }, n) => {
      const row = this.rows[n];
      mark(row.row, 'aria-rowindex', String(first + n + 2));
      mark(row.row, 'data-trouble', trouble);
      this.fillRow(row, member, trouble);
      row.button.dataset.key = member.name;
      row.button.tabIndex = member.name === this.at ? 0 : -1;
    });
    this.first = first;
    // Tab leads into the table wherever it was scrolled to.
    if (this.rows.length && !this.rows.some(row => row.button.tabIndex === 0)) this.rows[Math.min(SPARE, this.rows.length - 1)].button.tabIndex = 0;
    for (const [space, rows] of [[this.above, first], [this.below, this.shown.length - first - some.length]]) {
      space.firstChild.style.height = `${rows * height}px`;
      space.hidden = rows === 0;
    }
    // The focus stays with the member, not with the row.
    if (focused === undefined) return;
    const row = this.rows.find(one => one.button.dataset.key === focused);
    if (row) row.button.focus({ preventScroll: true });
    else document.activeElement.blur();
  }

  row() {
    const cell = name => el('td', { class: name });
    const cells = Object.fromEntries(['mark', 'name', 'zone wide', 'figure phi', 'line wide', 'figure rtt wide', 'figure falls wide', 'figure for', 'note'].map(name => [name.split(' ').find(word => word !== 'figure'), cell(name)]));
    const button = el('button', { type: 'button', 'aria-haspopup': 'dialog', onclick: () => why.open(button.dataset.key) });
    const letter = el('i', { 'aria-hidden': 'true' }), status = el('span', { class: 'unseen' });
    cells.mark.append(letter, status);
    cells.name.append(button);
    mark(cells.line, 'aria-hidden', 'true');
    const row = el('tr', {}, ...Object.values(cells));
    this.body.insertBefore(row, this.below);
    return { row, button, letter, status, ...cells };
  }

  /** Arrows, Page, Home and End go from member to member. */
  key(event) {
    const at = this.shown.findIndex(one => one.member.name === this.at), page = Math.max(1, Math.floor(this.scroller.clientHeight / this.height()) - 2);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -at, End: this.shown.length }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(this.shown.length - 1, at + step)), height = this.height(), top = next * height;
    this.at = this.shown[next]?.member.name ?? null;
    // The head of the table covers the first row.
    const room = this.scroller.clientHeight - 2 * height;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top > this.scroller.scrollTop + room) this.scroller.scrollTop = top - room;
    this.draw();
    this.rows.find(row => row.button.dataset.key === this.at)?.button.focus({ preventScroll: true });
  }
}

/** Parts of names, `status=down,suspect`, `tag=KEY[=VALUE]`, `zone=ZONE`, as `heartsay top` takes them. Throws what is wrong with it. */
function filterOf(text) {
  const wanted = { name: [], status: [], tag: [], zone: [] };
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const [, key, value] = word.match(/^(status|tag|zone)=(.*)$/) ?? [null, 'name', word.toLowerCase()];
    if (value === '') throw new Error(`${key}= wants something behind it`);
    if (key === 'status') {
      for (const status of value.split(',')) {
        if (!['alive', 'suspect', 'down', 'left'].includes(status)) throw new Error(`${status} is no status: alive, suspect, down or left`);
        wanted.status.push(status);
      }
    } else wanted[key].push(value);
  }
  return member =>
    wanted.name.every(part => member.name.toLowerCase().includes(part))
    && (!wanted.status.length || wanted.status.includes(member.status))
    && (!wanted.zone.length || wanted.zone.includes(member.zone))
    && wanted.tag.every(tag => {
      const [key, ...value] = tag.split('=');
      return Object.hasOwn(member.tags, key) && (!value.length || member.tags[key] === value.join('='));
    });
}

// The beginning: the token, the switches, and off it goes.

/** The token that `heartsay web` put behind the `#`. It is taken out of the address, and kept for this tab alone. */
function takeToken() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const token = parts.get('token');
  if (token !== null) {
    kept.set('sessionStorage', 'token', token);
    parts.delete('token');
    history.replaceState(null, '', location.pathname + location.search + (parts.size ? `#${parts}` : ''));
  }
  return token ?? kept.get('sessionStorage', 'token') ?? '';
}

const page = new Page(takeToken());

const THEMES = ['auto', 'light', 'dark'];
function theme(wanted) {
  const one = THEMES.includes(wanted) ? wanted : 'auto';
  if (one === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = one;
  say(by('theme'), `Colours: ${{ auto: 'system' }[one] ?? one}`);
  mark(by('theme'), 'aria-label', `Colours: ${one}. Press for ${THEMES[(THEMES.indexOf(one) + 1) % 3]}.`);
  return one;
}
let chosen = theme(kept.get('localStorage', 'theme'));
by('theme').addEventListener('click', () => {
  chosen = theme(THEMES[(THEMES.indexOf(chosen) + 1) % 3]);
  kept.set('localStorage', 'theme', chosen);
});

by('filter').addEventListener('input', event => {
  try {
    page.filter = filterOf(event.target.value);
    say(by('filter-error'), '');
  } catch (error) {
    say(by('filter-error'), error.message);
  }
  page.draw();
});
by('sort').addEventListener('change', event => { page.sort = event.target.value; page.draw(); });
for (const tile of document.querySelectorAll('#tiles button')) {
  tile.addEventListener('click', () => {
    page.wanted = page.wanted === tile.dataset.tile ? null : tile.dataset.tile;
    for (const one of document.querySelectorAll('#tiles button')) mark(one, 'aria-pressed', String(one.dataset.tile === page.wanted));
    page.draw();
  });
}
document.addEventListener('keydown', event => {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || by('why').open;
  if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    by('filter').focus();
  } else if (event.key === 'Escape' && event.target === by('filter')) {
    by('filter').value = '';
    by('filter').dispatchEvent(new Event('input'));
  }
});
by('why-close').addEventListener('click', () => by('why').close());
by('why').addEventListener('close', () => why.closed());
by('why').addEventListener('click', event => { if (event.target === by('why')) by('why').close(); });
by('paths').addEventListener('toggle', () => {
  if (!by('paths').open) return;
  page.feed.soon(true);
  page.reach.tick();
});
by('paths-all').addEventListener('click', () => { page.reach.showsAll = !page.reach.showsAll; page.draw(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) page.feed.soon(true); });
setInterval(() => page.tick(), 1000);
page.feed.run();

// An address may lead to a case.
const asked = new URLSearchParams(location.hash.slice(1)).get('why');
if (asked) why.open(asked);

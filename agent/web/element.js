// Elements are made of names and texts, never of markup: what comes from others cannot become any.

const by = id => document.getElementById(id);

/** An element. A property that begins with `on` is a listener, `class` and all others are attributes; `null` leaves one out. */
function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== '') made.append(child instanceof Node ? child : fit(child));
  }
  return made;
}

/** Changes a text only where it differs: what stands still costs nothing and is not read out again. */
function say(node, text) {
  const wanted = fit(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

function mark(node, attribute, value) {
  if (value === null || value === undefined) node.removeAttribute(attribute);
  else if (node.getAttribute(attribute) !== value) node.setAttribute(attribute, fit(value));
}

/** Fills anew what has changed as a whole, and gives the focus back to what had it, by its `data-key`. */
function fill(parent, state, make) {
  const key = JSON.stringify(state);
  if (parent.filled === key) return;
  parent.filled = key;
  const focus = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...make());
  if (focus !== undefined) [...parent.querySelectorAll('[data-key]')].find(one => one.dataset.key === focus)?.focus();
}

/** Where it fails, as in a browser that keeps nothing, nothing is kept. */
const kept = {
  get(store, key) { try { return window[store].getItem(key); } catch { return null; } },
  set(store, key, value) { try { window[store].setItem(key, value); } catch { /* for as long as the page lives */ } },
};

/** A status, in the colour of its kind beside its word. */
const lookOf = status => ({
  down: 'bad', lost: 'bad', critical: 'bad', error: 'bad',
  suspect: 'doubt', unsettled: 'doubt', warning: 'doubt',
  alive: 'well', held: 'well', passing: 'well',
})[status] ?? null;

/** A button that opens the case of a member. */
const caseOf = (name, key, text = name) =>
  el('button', { type: 'button', class: 'case m', 'data-key': key, 'aria-haspopup': 'dialog', onclick: () => why.open(name) }, text);

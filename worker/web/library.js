// The signed-in page: add, list, search, delete with undo, live changes.
import { ApiError, del, get, post } from './api.js';
import { openLive } from './live.js';
import { fillRow, makeRow } from './rows.js';
import { toast } from './toast.js';

const PAGE = 30;
const el = (id) => document.getElementById(id);
const state = { items: new Map(), query: '', page: 1, pages: 1, total: 0, deleting: new Map(), loading: null };
let closeLive = null;

const debounce = (ms, run) => {
  let timer = null;
  return (...args) => { clearTimeout(timer); timer = setTimeout(() => run(...args), ms); };
};

// ---- showing ----

function showCounts() {
  const shown = [...state.items.keys()].filter((id) => !state.deleting.has(id)).length;
  el('count').textContent = state.total ? `${state.total}` : '';
  el('more').hidden = state.page >= state.pages;
  el('empty').hidden = shown > 0;
  el('empty').textContent = state.query ? 'Nothing found.' : 'Nothing kept yet. Paste an address above.';
}

const rowOf = (id) => el('list').querySelector(`[data-id="${id}"]`);

function put(item, where) {
  const known = rowOf(item.id);
  state.items.set(item.id, item);
  if (known) return fillRow(known, item);
  if (state.deleting.has(item.id)) return;
  const row = makeRow(item, remove);
  if (where === 'top') row.classList.add('new');
  el('list')[where === 'top' ? 'prepend' : 'append'](row);
}

// ---- loading ----

async function load(page) {
  state.loading?.abort();
  const loading = state.loading = new AbortController();
  const query = new URLSearchParams({ page, per_page: PAGE });
  if (state.query) query.set('search', state.query);
  try {
    const answer = await get(`/api/bookmarks?${query}`, { signal: loading.signal });
    if (page === 1) {
      state.items.clear();
      el('list').replaceChildren();
    }
    Object.assign(state, { page: answer.page, pages: answer.pages, total: answer.total });
    answer.bookmarks.forEach((item) => put(item, 'bottom'));
    showCounts();
  } catch (error) {
    if (error.name !== 'AbortError') toast(error.message);
  }
}

// After events: the newest page again, rows changed in place, nothing jumps.
const freshen = debounce(150, async () => {
  if (state.query) return;
  try {
    const answer = await get(`/api/bookmarks?page=1&per_page=${PAGE}`);
    if (state.query) return;
    state.total = answer.total;
    answer.bookmarks.toReversed().forEach((item) => put(item, 'top'));
    showCounts();
  } catch { /* the next event tries again */ }
});

// ---- changing ----

async function add(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector('button');
  const url = form.url.value.trim();
  el('add-problem').textContent = '';
  button.disabled = true;
  try {
    const answer = await post('/api/bookmarks', { url });
    form.reset();
    if (answer.wasDuplicate) {
      toast('You have this page already.');
      freshen();
    } else {
      if (state.query) { el('search').value = ''; state.query = ''; await load(1); }
      if (!state.items.has(answer.bookmark.id)) {
        put({ ...answer.bookmark, title: '', scrape_status: 'PENDING' }, 'top');
        state.total++;
        showCounts();
      }
    }
  } catch (error) {
    el('add-problem').textContent = error.message;
  } finally {
    button.disabled = false;
    form.url.focus();
  }
}

// Gone from the page at once, from the server when the undo has passed.
function remove(id) {
  const row = rowOf(id);
  const item = state.items.get(id);
  if (!row || state.deleting.has(id)) return;
  const place = row.nextElementSibling;
  row.remove();
  const close = toast(`Deleted “${item.title || item.url}”`, {
    action: 'Undo',
    onGone: async (undone) => {
      state.deleting.delete(id);
      const back = () => {
        el('list').insertBefore(row, place?.isConnected ? place : null);
        state.total++;
        showCounts();
      };
      if (undone) return back();
      try {
        await del(`/api/bookmarks/${id}`, { keepalive: true });
        state.items.delete(id);
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return;
        back();
        toast(`Not deleted: ${error.message}`);
      }
    },
  });
  state.deleting.set(id, close);
  state.total--;
  showCounts();
}

const search = debounce(250, () => {
  const query = el('search').value.trim();
  if (query === state.query) return;
  state.query = query;
  load(1);
});

// ---- live ----

const LIVE = {
  'bookmark.pipeline.scraping.started': (item) => { item.scrape_status = 'RUNNING'; },
  'bookmark.pipeline.scraping.completed': (item, event) => {
    item.scrape_status = event.error ? 'FAILED' : 'SUCCESS';
    if (event.data?.title) item.title = event.data.title;
  },
};

function onEvent(name, event) {
  const item = state.items.get(event.bookmark_id);
  if (name === 'bookmark.domain.deleted') {
    rowOf(event.bookmark_id)?.remove();
    if (state.items.delete(event.bookmark_id)) state.total--;
    showCounts();
    return;
  }
  if (item && LIVE[name]) {
    LIVE[name](item, event);
    put(item);
  }
  if (!item || !name.endsWith('.started')) freshen();
}

// ---- start and end ----

export function startLibrary() {
  el('add').addEventListener('submit', add);
  el('search').addEventListener('input', search);
  el('more').addEventListener('click', () => load(state.page + 1));
  // A page that is left deletes what its undo was still waiting for.
  window.addEventListener('pagehide', () => [...state.deleting.values()].forEach((go) => go(false)));
  document.addEventListener('keydown', (event) => {
    if (event.key === '/' && !event.target.closest('input, textarea')) {
      event.preventDefault();
      el('search').focus();
    }
  });
}

export function openLibrary() {
  load(1);
  closeLive ??= openLive(onEvent, (isOn) => el('live').classList.toggle('on', isOn));
}

export function closeLibrary() {
  closeLive?.();
  closeLive = null;
  state.items.clear();
  state.query = el('search').value = '';
  el('list').replaceChildren();
}

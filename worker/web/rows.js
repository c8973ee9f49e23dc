// One bookmark as a row of the list.

const template = document.getElementById('row');

const hostOf = (url) => { try { return new URL(url).host; } catch { return url; } };
const safeLink = (url) => (/^https?:/i.test(url) ? url : '#');

// What the row says about work in progress: words, and a class that colours them.
const STATUS = {
  PENDING: ['queued', 'busy'],
  RUNNING: ['reading the page', 'busy'],
  FAILED: ['page not reachable', 'bad'],
};

const facts = (item) => [
  item.reading_time ? `${item.reading_time} min read` : '',
  item.has_content ? `score ${item.quality_score}` : '',
  ...(item.tags ?? []).map((tag) => `#${tag}`),
].filter(Boolean).join(' · ');

export function makeRow(item, onDelete) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.dataset.id = item.id;
  row.querySelector('.delete').addEventListener('click', () => onDelete(Number(row.dataset.id)));
  fillRow(row, item);
  return row;
}

export function fillRow(row, item) {
  const link = row.querySelector('.title');
  const status = row.querySelector('.status');
  const [words, kind] = STATUS[item.scrape_status] ?? ['', ''];
  const isUntitled = !item.title || item.title === 'Untitled Bookmark';

  link.textContent = isUntitled ? item.url : item.title;
  link.href = safeLink(item.url);
  row.querySelector('.host').textContent = hostOf(item.url);
  row.querySelector('.facts').textContent = facts(item);
  row.querySelector('.note').textContent = item.description ?? '';
  status.textContent = words;
  status.className = `status ${kind}`;
}

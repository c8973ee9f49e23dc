// The event stream: what happens to bookmarks, told as it happens. Reopened with growing
// pauses, from the last event seen, so that nothing between is missed.
import { refresh } from './api.js';

const NAMES = [
  'bookmark.pipeline.scraping.started', 'bookmark.pipeline.scraping.completed',
  'bookmark.pipeline.embedding.started', 'bookmark.pipeline.embedding.completed',
  'bookmark.pipeline.embedding.failed', 'bookmark.pipeline.analysis.started',
  'bookmark.pipeline.analysis.completed', 'bookmark.pipeline.analysis.failed',
  'bookmark.domain.created', 'bookmark.domain.updated', 'bookmark.domain.deleted',
];

export function openLive(onEvent, onState) {
  let source = null, timer = null, lastId = '', wait = 1000, closed = false;

  const open = () => {
    source = new EventSource('/api/realtime/stream' + (lastId ? `?last_event_id=${encodeURIComponent(lastId)}` : ''));
    source.addEventListener('system.connected', () => { wait = 1000; onState(true); });
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        lastId = event.lastEventId || lastId;
        onEvent(name, JSON.parse(event.data));
      });
    }
    source.onerror = async () => {
      source.close();
      if (closed) return;
      onState(false);
      timer = setTimeout(async () => {
        await refresh().catch(() => false); // the usual reason: the token has expired
        if (!closed) open();
      }, wait);
      wait = Math.min(wait * 1.5, 30000);
    };
  };

  open();
  return () => { closed = true; clearTimeout(timer); source.close(); onState(false); };
}

"""What has to be true after the primary was away, and how it is made silent."""

import os


def none_half_done(stack, writers):
    """Every link that was answered is there once, and each row has its outbox row and event."""
    saved = [url for writer in writers for url in writer.saved]
    rows = dict(stack.sql("SELECT url, id FROM saved_content"))
    missing = [url for url in saved if url not in rows]
    assert not missing, f"{len(missing)} of {len(saved)} answered writes are gone: {missing[:3]}"
    without = stack.sql(
        "SELECT count(*) FROM saved_content s WHERE NOT EXISTS (SELECT 1 FROM outbox o "
        "WHERE o.bookmark_id = s.id) AND scrape_status = 'PENDING'")
    assert without == [(0,)], "rows without their job"
    events = stack.sql("SELECT count(*) FROM saved_content s WHERE NOT EXISTS (SELECT 1 FROM "
                       "bookmark_events e WHERE e.bookmark_id = s.id AND e.type = 'bookmark.domain.created')")
    assert events == [(0,)], "rows without their event"


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # a server's helper that has ended meanwhile

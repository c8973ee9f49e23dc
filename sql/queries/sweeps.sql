-- What the scheduler finds left behind: see jobs/scheduler_sweeps.c.

-- Bookmarks that have waited too long, and are not owed a job.
-- name: sweep_unfinished
-- route: primary
-- params: int age_ms, int limit
-- tenant: all: the scheduler's round
-- index: idx_saved_content_unfinished
SELECT c.user_id, c.id, c.url
FROM saved_content c
WHERE c.scrape_status IN ('PENDING', 'RUNNING')
  AND c.saved_at < (now() AT TIME ZONE 'utc')
                   - make_interval(secs => $1::double precision / 1000)
  AND NOT EXISTS (SELECT 1 FROM outbox o
                  WHERE o.user_id = c.user_id AND o.bookmark_id = c.id)
ORDER BY c.saved_at
LIMIT $2;

-- Its job failed without having been able to say so.
-- name: sweep_mark_failed
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
UPDATE saved_content SET scrape_status = 'FAILED'
WHERE user_id = $1 AND id = $2 AND scrape_status IN ('PENDING', 'RUNNING');

-- Events are kept 30 days for replay; in small bites.
-- name: sweep_old_events
-- route: primary
-- params: int limit
-- tenant: all: clean-up by age
-- index: idx_bookmark_events_created_at
DELETE FROM bookmark_events
WHERE (user_id, id) IN (SELECT user_id, id FROM bookmark_events
                        WHERE created_at < now() - interval '30 days'
                        ORDER BY created_at LIMIT $1);

-- Sessions past their expiry.
-- name: sweep_expired_families
-- route: primary
-- params: int limit
-- tenant: all: clean-up by age
-- index: idx_token_families_expires_at
DELETE FROM token_families
WHERE (user_id, id) IN (SELECT user_id, id FROM token_families
                        WHERE expires_at < (now() AT TIME ZONE 'utc')
                        ORDER BY expires_at LIMIT $1);

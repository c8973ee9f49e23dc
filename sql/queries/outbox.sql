-- The promise that a job reaches Redis: see jobs/outbox.h.

-- name: outbox_add
-- route: primary
-- params: text job_id, int user_id, int bookmark_id, text url, text queue, text request_id
-- tenant: user_id
INSERT INTO outbox (job_id, user_id, bookmark_id, url, queue, request_id)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (user_id, job_id) DO NOTHING;

-- A job's first transaction keeps the promise.
-- name: outbox_done
-- route: primary
-- params: text job_id, int user_id
-- tenant: user_id
DELETE FROM outbox WHERE job_id = $1 AND user_id = $2;

-- A page of what is owed for longer than `age_ms`, behind the last page's end.
-- name: outbox_due
-- route: primary
-- params: int age_ms, text after_created_at, text after_job_id, int limit
-- tenant: all: the scheduler's round
-- index: idx_outbox_created_at
SELECT job_id, user_id, bookmark_id, url, queue, request_id, created_at::text
FROM outbox
WHERE created_at < now() - make_interval(secs => $1::double precision / 1000)
  AND (created_at, job_id) > ($2::timestamptz, $3)
ORDER BY outbox.created_at, outbox.job_id -- not the text above
LIMIT $4;

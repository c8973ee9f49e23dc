-- Bookmarks: list, save, duplicates, delete, numbers for the dashboard.

-- A page of the whole list, with the total in every row; a page past the end has no row
-- to say it: bookmark_total.
-- name: bookmark_list
-- route: replica
-- quick: a page of one index, one counter
-- params: int user_id, int limit, int offset
-- tenant: user_id
-- index: idx_saved_content_user_saved_at
-- A LIMIT the planner can see makes each page look cheaper than the plan for any page,
-- so it would plan every call anew, half of the statement's time. Behind a SELECT it sees
-- none, and after five calls keeps the one plan there is (pgbench, 8 clients, 20 of 1000
-- rows: 3500/s instead of 1740/s).
SELECT (SELECT total FROM bookmark_totals WHERE user_id = $1) AS total,
       id, url, title, notes, saved_at, category,
       has_content,
       scrape_status, quality_score, reading_time, tags
FROM saved_content
WHERE user_id = $1
ORDER BY saved_at DESC, id DESC
LIMIT (SELECT $2::bigint) OFFSET (SELECT $3::bigint);

-- name: bookmark_total
-- route: replica
-- quick: one counter
-- params: int user_id
-- tenant: user_id
SELECT coalesce((SELECT total FROM bookmark_totals WHERE user_id = $1), 0) AS total;

-- The list with a substring of title, notes or URL, or of one category, or both.
-- name: bookmark_list_filtered
-- route: replica
-- params: int user_id, int limit, int offset, text pattern, text category, bool or_none
-- tenant: user_id
WITH hits AS (
    SELECT id, saved_at
    FROM saved_content
    WHERE user_id = $1
      AND ($4::text IS NULL OR title ILIKE $4 OR notes ILIKE $4 OR url ILIKE $4)
      AND ($5::text IS NULL OR category = $5
           OR ($6 AND coalesce(category, '') = ''))
)
SELECT t.total, b.*
FROM (SELECT count(*) AS total FROM hits) t
LEFT JOIN (
    SELECT s.id, s.url, s.title, s.notes, s.saved_at, s.category,
           s.has_content,
           s.scrape_status, s.quality_score, s.reading_time, s.tags
    FROM (SELECT id FROM hits ORDER BY saved_at DESC, id DESC LIMIT $2 OFFSET $3) page
    JOIN saved_content s ON s.id = page.id AND s.user_id = $1
) b ON true
ORDER BY b.saved_at DESC, b.id DESC;

-- No row: the same page is saved already, or was this very moment.
-- name: bookmark_insert
-- route: primary
-- params: int user_id, text url, text url_norm, text page_key, text title, text notes, text category, text tags
-- tenant: user_id
INSERT INTO saved_content
    (user_id, url, url_norm, page_key, title, notes, category, tags, quality_score,
     saved_at, scrape_status, embedding_status, analysis_status)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, 0, now() AT TIME ZONE 'UTC',
       'PENDING', 'PENDING', 'PENDING'
WHERE NOT EXISTS (
    SELECT 1 FROM saved_content WHERE user_id = $1 AND url_norm = $3)
ON CONFLICT DO NOTHING
RETURNING id;

-- What stands in the way of saving: the very URL, else another spelling of it.
-- name: bookmark_find_same
-- route: primary
-- params: int user_id, text url, text url_norm
-- tenant: user_id
-- index: idx_saved_content_user_url_norm
SELECT id, url, kind
FROM (
    (SELECT id, url, 'exact' AS kind, 0 AS rank
     FROM saved_content WHERE user_id = $1 AND url = $2)
    UNION ALL
    (SELECT id, url, 'normalized', 1
     FROM saved_content WHERE user_id = $1 AND url_norm = $3
     ORDER BY id LIMIT 1)
) found
ORDER BY rank
LIMIT 1;

-- The same for a URL that is still being typed, with pages that differ in their query.
-- name: bookmark_find_similar
-- route: replica
-- params: int user_id, text url, text url_norm, text page_key
-- tenant: user_id
-- index: idx_saved_content_user_page_key
SELECT id, title, url, notes, saved_at, kind
FROM (
    (SELECT id, title, url, notes, saved_at, 'exact' AS kind, 0 AS rank
     FROM saved_content WHERE user_id = $1 AND url = $2)
    UNION ALL
    (SELECT id, title, url, notes, saved_at, 'normalized', 1
     FROM saved_content WHERE user_id = $1 AND url_norm = $3
     ORDER BY id LIMIT 1)
    UNION ALL
    (SELECT id, title, url, notes, saved_at, 'similar', 2
     FROM saved_content WHERE user_id = $1 AND page_key = $4
     ORDER BY id LIMIT 1)
) found
ORDER BY rank
LIMIT 1;

-- name: bookmark_update_saved
-- route: primary
-- params: int user_id, int id, text title, text notes, bool has_tags, text tags
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content
SET title = coalesce($3, title),
    notes = coalesce($4, notes),
    tags = CASE WHEN $5 THEN $6 ELSE tags END
WHERE user_id = $1 AND id = $2
RETURNING title;

-- The job that still waits to read a bookmark's page (jobs/outbox.h): one is enough.
-- name: bookmark_waiting_job
-- route: primary
-- params: int user_id, int id
-- tenant: user_id
SELECT job_id, queue FROM outbox
WHERE user_id = $1 AND bookmark_id = $2 AND starts_with(job_id, 'bookmark_process_')
ORDER BY created_at DESC
LIMIT 1;

-- To be read again, by a job that is being queued.
-- name: bookmark_set_pending
-- route: primary
-- params: int user_id, int id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET scrape_status = 'PENDING' WHERE user_id = $1 AND id = $2;

-- With the jobs that still wait for it, to be taken back.
-- name: bookmark_delete
-- route: primary
-- params: int user_id, int id
-- tenant: user_id
-- index: saved_content_pkey
WITH waiting AS (
    SELECT job_id, queue FROM outbox WHERE user_id = $1 AND bookmark_id = $2
), gone AS (
    DELETE FROM saved_content WHERE user_id = $1 AND id = $2 RETURNING url, title
)
SELECT gone.url, gone.title, waiting.job_id, waiting.queue
FROM gone LEFT JOIN waiting ON true;

-- name: bookmark_delete_all
-- route: primary
-- params: int user_id
-- tenant: user_id
DELETE FROM saved_content WHERE user_id = $1;

-- The URL as sent, else in whatever case and with or without one trailing slash; of
-- several the newest.
-- name: bookmark_find_by_url
-- route: primary
-- params: int user_id, text url, text url_without_slash
-- tenant: user_id
-- index: idx_saved_content_user_url_lower
SELECT id
FROM (
    (SELECT id, 0 AS rank FROM saved_content WHERE user_id = $1 AND url = $2)
    UNION ALL
    (SELECT id, 1 AS rank
     FROM saved_content
     WHERE user_id = $1
       AND left(lower(url), 512) IN (left(lower($3), 512), left(lower($3) || '/', 512),
                                     left(lower($2) || '/', 512))
       AND lower(url) IN (lower($3), lower($3) || '/', lower($2) || '/')
     ORDER BY saved_at DESC, id DESC
     LIMIT 1)
) found
ORDER BY rank
LIMIT 1;

-- All of contract 2.9's numbers for the save page; "today" is UTC's.
-- name: bookmark_stats
-- route: replica
-- params: int user_id
-- tenant: user_id
SELECT b.total, b.total_before, b.this_week, b.last_week, b.good,
       p.total AS projects, p.total_before AS projects_before
FROM (
    SELECT count(*) AS total,
           count(*) FILTER (WHERE s.saved_at < t.today - interval '30 days')
               AS total_before,
           count(*) FILTER (WHERE s.saved_at >= t.today - interval '7 days')
               AS this_week,
           count(*) FILTER (WHERE s.saved_at >= t.today - interval '14 days'
                            AND s.saved_at < t.today - interval '7 days') AS last_week,
           count(*) FILTER (WHERE s.quality_score >= 50 AND a.id IS NOT NULL) AS good
    FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AS today) t
    CROSS JOIN saved_content s
    LEFT JOIN content_analysis a ON a.content_id = s.id AND a.user_id = s.user_id
    WHERE s.user_id = $1
) b
CROSS JOIN (
    SELECT count(*) AS total,
           count(*) FILTER (
               WHERE created_at < date_trunc('day', now() AT TIME ZONE 'UTC')
                                  - interval '30 days') AS total_before
    FROM projects
    WHERE user_id = $1
) p;

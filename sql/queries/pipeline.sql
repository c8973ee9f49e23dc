-- A bookmark's way through its jobs: see jobs/functions/process_bookmark.c and
-- embed_bookmark.c. Each transaction touches the bookmark's row first, which also
-- says whether it still exists and keeps it from going away meanwhile.

-- name: pipeline_start_scrape
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET scrape_status = 'RUNNING'
WHERE user_id = $1 AND id = $2
RETURNING url;

-- The newest run of a bookmark, and how far it came. No row before the first.
-- name: pipeline_last_run
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: idx_bookmark_events_user_bookmark
SELECT run.pipeline_run_id,
       coalesce(bool_or(e.type = 'bookmark.pipeline.scraping.completed'), false) AS scraped,
       coalesce(bool_or(e.type IN ('bookmark.pipeline.embedding.failed',
                                   'bookmark.pipeline.analysis.completed',
                                   'bookmark.pipeline.analysis.failed')), false) AS over
FROM (SELECT pipeline_run_id FROM bookmark_events
      WHERE user_id = $1 AND bookmark_id = $2
        AND type = 'bookmark.pipeline.scraping.started'
      ORDER BY id DESC LIMIT 1) run
LEFT JOIN bookmark_events e ON e.user_id = $1 AND e.bookmark_id = $2
                           AND e.pipeline_run_id = run.pipeline_run_id
GROUP BY run.pipeline_run_id;

-- How a run's stage ended, by its last event: well or badly; no row while it has not.
-- name: pipeline_stage_end
-- route: primary
-- params: int user_id, int bookmark_id, text run_id, text type
-- tenant: user_id
-- index: idx_bookmark_events_user_bookmark
SELECT error IS NULL
FROM bookmark_events
WHERE user_id = $1 AND bookmark_id = $2 AND pipeline_run_id = $3 AND type = $4
LIMIT 1;

-- Held until the text is saved: what the page was the last time.
-- name: pipeline_lock_bookmark
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
SELECT title, content_hash,
       embedding IS NULL OR embedding_status IS DISTINCT FROM 'SUCCESS'
           OR analysis_status IS DISTINCT FROM 'SUCCESS' AS needs_embedding
FROM saved_content
WHERE user_id = $1 AND id = $2
FOR NO KEY UPDATE;

-- The text is what it was.
-- name: pipeline_scrape_unchanged
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET scrape_status = 'SUCCESS', scraped_at = now()
WHERE user_id = $1 AND id = $2
RETURNING title, quality_score;

-- The title is the user's, unless there is none.
-- name: pipeline_scrape_save
-- route: primary
-- params: int user_id, int bookmark_id, text title, text extracted_text, int quality_score, text author, int reading_time, text language, text published_at, text content_hash, text extractor_version
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content
SET title = CASE WHEN $3 <> '' AND btrim(title) IN ('', 'Untitled Bookmark') THEN $3
                 ELSE title END,
    extracted_text = $4,
    quality_score = $5,
    author = coalesce(nullif($6, ''), author),
    reading_time = $7,
    language = coalesce(nullif($8, ''), language),
    published_at = coalesce(nullif($9, '')::timestamptz, published_at),
    content_hash = $10,
    strategy_used = 'HTTP',
    extractor_version = $11,
    scrape_status = 'SUCCESS',
    scraped_at = now(),
    embedding_status = 'PENDING',
    analysis_status = 'PENDING'
WHERE user_id = $1 AND id = $2
RETURNING title, quality_score;

-- name: pipeline_metadata_save
-- route: primary
-- params: int user_id, int bookmark_id, text payload
-- tenant: user_id
-- index: bookmark_metadata_pkey
INSERT INTO bookmark_metadata (user_id, bookmark_id, jsonb_payload)
VALUES ($1, $2, $3::jsonb)
ON CONFLICT (user_id, bookmark_id)
DO UPDATE SET jsonb_payload = excluded.jsonb_payload, updated_at = now();

-- Title and text stay as they are (D11).
-- name: pipeline_scrape_failed
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET scrape_status = 'FAILED'
WHERE user_id = $1 AND id = $2
RETURNING title, quality_score;

-- name: pipeline_start_embedding
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET embedding_status = 'RUNNING'
WHERE user_id = $1 AND id = $2
RETURNING url, title, notes, extracted_text;

-- The next stage begins in the same transaction.
-- name: pipeline_embedding_save
-- route: primary
-- params: int user_id, int bookmark_id, text embedding
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content
SET embedding = $3::real[], embedding_status = 'SUCCESS', embedded_at = now(),
    analysis_status = 'RUNNING'
WHERE user_id = $1 AND id = $2;

-- name: pipeline_embedding_failed
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET embedding_status = 'FAILED'
WHERE user_id = $1 AND id = $2;

-- name: pipeline_analysis_done
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET analysis_status = 'SUCCESS', analyzed_at = now()
WHERE user_id = $1 AND id = $2;

-- Whoever analyses has the embedding; one that gave up before it came there again, too.
-- name: pipeline_analysis_failed
-- route: primary
-- params: int user_id, int bookmark_id
-- tenant: user_id
-- index: saved_content_pkey
UPDATE saved_content SET embedding_status = 'SUCCESS', analysis_status = 'FAILED'
WHERE user_id = $1 AND id = $2;

-- What was found first stays.
-- name: pipeline_analysis_save
-- route: primary
-- params: int user_id, int bookmark_id, text analysis, text key_concepts, text content_type, text difficulty, text technologies, int relevance
-- tenant: user_id
INSERT INTO content_analysis (user_id, content_id, analysis_data, key_concepts,
                              content_type, difficulty_level, technology_tags,
                              relevance_score)
VALUES ($1, $2, $3::json, $4, $5, $6, $7, $8)
ON CONFLICT (user_id, content_id) DO NOTHING;

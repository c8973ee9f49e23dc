-- Searching by text.

-- Full-text matches, best first, then, if there is room left, those that only contain
-- the words as they were typed, newest first.
-- name: search_text
-- route: replica
-- params: int user_id, text words, text pattern, int limit
-- tenant: user_id
WITH typed AS (
    -- The two letters: 0006_long_words.sql.
    SELECT translate($2, 'ȺȾ', 'ⱥⱦ') AS text
), query AS (
    -- "-Wall" alone is a word that somebody looks for, not everything without it.
    SELECT CASE querytree(websearch_to_tsquery('pg_catalog.english', text))
           WHEN 'T' THEN plainto_tsquery('pg_catalog.english', text)
           ELSE websearch_to_tsquery('pg_catalog.english', text) END AS words
    FROM typed
), ranked AS (
    SELECT s.id, ts_rank(s.search_vector, query.words) AS rank
    FROM saved_content s CROSS JOIN query
    WHERE s.user_id = $1 AND s.search_vector @@ query.words
    ORDER BY rank DESC, s.saved_at DESC, s.id DESC
    LIMIT $4
), containing AS (
    SELECT s.id
    FROM saved_content s
    WHERE s.user_id = $1
      AND (SELECT count(*) FROM ranked) < $4
      AND (s.title ILIKE $3 OR s.notes ILIKE $3 OR s.extracted_text ILIKE $3)
      AND s.id NOT IN (SELECT id FROM ranked)
    ORDER BY s.saved_at DESC, s.id DESC
    LIMIT $4
)
SELECT s.id, s.title, s.url, s.notes, s.saved_at,
       s.has_content
FROM (
    SELECT id, 0 AS part, rank FROM ranked
    UNION ALL
    SELECT id, 1, 0 FROM containing
) hit
JOIN saved_content s ON s.id = hit.id AND s.user_id = $1
ORDER BY hit.part, hit.rank DESC, s.saved_at DESC, s.id DESC
LIMIT $4;

-- What an event stream missed: see worker/replay.h. Asked of the primary while there is one,
-- since an event may be told before a replica has it.

-- name: events_after
-- route: replica
-- params: int user_id, text event_id, int limit
-- tenant: user_id
-- index: bookmark_events_pkey
SELECT event_id, type, sequence, pipeline_run_id, bookmark_id, data, error,
       metadata_json ->> 'category' AS category,
       to_char(created_at AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS created_at
FROM bookmark_events
WHERE user_id = $1
  AND id > (SELECT id FROM bookmark_events WHERE user_id = $1 AND event_id = $2)
ORDER BY id
LIMIT $3;

-- The newest $3 of them, in order: a stream that never had an event has no id to ask from.
-- name: events_since
-- route: replica
-- params: int user_id, int since_unix, int limit
-- tenant: user_id
-- index: bookmark_events_pkey
SELECT event_id, type, sequence, pipeline_run_id, bookmark_id, data, error,
       category, created_at
FROM (SELECT id, event_id, type, sequence, pipeline_run_id, bookmark_id, data, error,
             metadata_json ->> 'category' AS category,
             to_char(created_at AT TIME ZONE 'utc',
                     'YYYY-MM-DD"T"HH24:MI:SS.US') AS created_at
      FROM bookmark_events
      WHERE user_id = $1 AND created_at >= to_timestamp($2)
      ORDER BY id DESC
      LIMIT $3) AS newest
ORDER BY id;

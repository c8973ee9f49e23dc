-- What happened to a bookmark: see jobs/events.h.

-- No row comes back when this event was stored before (a job that runs again).
-- name: event_insert
-- route: primary
-- params: int user_id, int bookmark_id, text event_id, text run_id, int sequence, text type, text data, text error, text metadata, text created_at
-- tenant: user_id
INSERT INTO bookmark_events (user_id, bookmark_id, event_id, pipeline_run_id, sequence,
                             type, data, error, metadata_json, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9::jsonb,
        $10::timestamp AT TIME ZONE 'utc')
ON CONFLICT (user_id, event_id) DO NOTHING
RETURNING id;

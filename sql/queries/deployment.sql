-- What all servers on one database have to agree about: see master/deployment.h.

-- Notes a value that all servers must share. A row: another one was noted before, by
-- that server; from now on this one counts, so that a change on purpose is told once.
-- name: deployment_note
-- route: primary
-- params: text name, text value, text server
-- tenant: all: about servers, no row of anybody
-- index: deployment_pkey
WITH before AS (
    SELECT server, to_char(noted_at AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI "UTC"') AS noted
    FROM deployment
    WHERE name = $1 AND value <> $2
), noted AS (
    INSERT INTO deployment AS d (name, value, server) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE
    SET value = excluded.value, server = excluded.server, noted_at = now()
    WHERE d.value <> excluded.value
)
SELECT server, noted FROM before;

-- What the master's short-lived child asks the database server: see master/probe.c.

-- Connections that others than superusers may have open, all databases together.
-- name: server_room
-- route: primary
-- params: none
-- tenant: all: a setting of the server, no row of anybody
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int;

-- Asked of every server now and then: is it a replica, and how far is its log? (Bytes
-- since the log's beginning; see common/pg_lag.c.)
-- name: server_position
-- route: replica
-- params: none
-- tenant: all: a property of the server, no row of anybody
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn;

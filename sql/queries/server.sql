-- What the master's short-lived child asks the database server: see master/probe.c.

-- Connections that others than superusers may have open, all databases together.
-- name: server_room
-- route: primary
-- params: none
-- tenant: all: a setting of the server, no row of anybody
SELECT current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int;

#!/bin/sh
# A hot standby: made from the primary at its first start, then PostgreSQL as it is.
#
#   PRIMARY=192.0.2.21 PGPASSWORD=... PGDATA=... sh replica.sh [postgres' arguments]
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$PGDATA"/*
    until pg_basebackup -D "$PGDATA" -R -X stream -c fast \
        -d "host=$PRIMARY port=5432 user=forkmark dbname=postgres"; do
        echo "waiting for the primary at $PRIMARY" >&2
        sleep 1
    done
    chmod 700 "$PGDATA"
fi
exec postgres -D "$PGDATA" "$@"

#!/bin/sh
# Past one machine, on this one: two servers behind nginx, a PostgreSQL primary with two
# replicas behind PgBouncer, a Redis Cluster of six, a queue with sentinels. Under a mixed
# load a server, a replica, a master of the cluster and the queue's master are killed, one
# after the other; a line each second, a ledger at the end. Three minutes at most; status 0:
# no write and no job was lost. KEEP=1 keeps the logs of one that failed.
set -u
cd "$(dirname "$0")/.."
sh config/install.sh run build test || exit 1
cmake --preset release >/dev/null && cmake --build build --target forkmark >/dev/null || exit 1
FORKMARK_BIN=${FORKMARK_BIN:-$PWD/build/forkmark} exec /usr/bin/python3 tests/harness/scale_demo.py

#!/bin/sh
# A Redis or a sentinel with a configuration of its own: a copy of the given file, made at
# its first start. Both write into it what a fail-over changes, and find that at the next.
#
#   [REPLICAOF="192.0.2.51 6379"] sh redis.sh GIVEN COPY [redis-server's arguments]
#
# REPLICAOF: whom to follow at first; in the file, so that a promotion takes it out.
set -eu
given=$1 copy=$2
shift 2
if [ ! -s "$copy" ]; then
    { cat "$given" && echo "${REPLICAOF:+replicaof $REPLICAOF}"; } >"$copy.new"
    mv "$copy.new" "$copy" # whole or not at all
fi
exec redis-server "$copy" "$@"

#!/bin/sh
# Makes one cluster of the given nodes, the second half as replicas of the first; once.
#
#   sh make-cluster.sh 192.0.2.41:6379 192.0.2.42:6379 ...
set -eu
first=$1
host=${first%:*} port=${first##*:}
for node in "$@"; do
    until [ "$(redis-cli -h "${node%:*}" -p "${node##*:}" ping 2>/dev/null)" = PONG ]; do
        sleep 0.2
    done
done
if redis-cli -h "$host" -p "$port" cluster info | grep -q '^cluster_slots_assigned:16384'; then
    exit 0
fi
redis-cli --cluster create "$@" --cluster-replicas 1 --cluster-yes
until redis-cli -h "$host" -p "$port" cluster info | grep -q '^cluster_state:ok'; do
    sleep 0.2
done

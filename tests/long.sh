#!/bin/sh
# What takes too long for tests/run.sh: an hour at most, ends by itself.
#
#   sh tests/long.sh            everything
#   sh tests/long.sh streams    only these: streams outages reload ledger faults spread
#                               schedulers slow scale servers soak systemd pooler replicas
#                               cluster sentinel container newcomer fuzz valgrind
#   sh tests/long.sh suites     not among everything: tests/run.sh in a fresh Debian 12 and
#                               a fresh Debian 13, up to 25 minutes each
set -u
cd "$(dirname "$0")/.."
parts=${*:-streams outages reload ledger faults spread schedulers slow scale servers soak systemd pooler replicas cluster sentinel container newcomer fuzz valgrind}
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
python=/usr/bin/python3
failed=0
wants() { case " $parts " in *" $1 "*) return 0 ;; esac; return 1; }
# Says something only when it fails.
quietly() { out=$("$@" 2>&1) || { printf '%s\n' "$out" && exit 1; }; }
run() { printf '\n== %s\n' "$*"; "$@" || failed=$((failed + 1)); }

sh config/install.sh run build test bench || exit 1
quietly cmake --preset release
quietly cmake --build build
export FORKMARK_BIN="$PWD/build/forkmark"
pytest="$python -m pytest -q -s -p no:cacheprovider"

wants streams && run $pytest tests/long/test_streams.py
wants outages && run $pytest tests/long/test_outages_full.py
wants reload && run $pytest tests/long/test_reload_under_load.py
wants ledger && run $pytest tests/long/test_no_loss_full.py
wants faults && run $pytest tests/long/test_faults_full.py
wants spread && run $pytest tests/long/test_spread.py
wants schedulers && run $pytest tests/long/test_schedulers.py
# What the suite's own parts leave out.
wants slow && run env FORKMARK_LONG=1 $pytest -m long tests/integration tests/interop --ignore tests/integration/scale
# Past one machine: the quick tests, and those that the suite has no time for.
wants scale && run env FORKMARK_LONG=1 $pytest tests/integration/scale
# An upgrade of server after server, across a change of the schema.
wants servers && run $pytest tests/long/test_rolling_servers.py
wants soak && run $pytest tests/long/test_soak.py
# What clients see, once more through a PgBouncer in transaction mode.
wants pooler && run env FORKMARK_PGBOUNCER=1 $pytest tests/integration/test_access.py \
    tests/integration/test_auth.py tests/integration/test_bookmarks.py \
    tests/integration/test_clients.py tests/integration/test_lifetimes.py \
    tests/integration/test_main_job.py tests/integration/test_page_and_health.py \
    tests/integration/test_search.py
# Streaming replication: replicas and the primary lost, paused, promoted, silent.
wants replicas && run $pytest tests/long/test_replicas_full.py
# The cache in a Redis Cluster: all of its failures, and what clients see otherwise.
wants cluster && run $pytest tests/long/test_cluster_full.py
# (Without those that take the queue's Redis away and expect the cache to be gone.)
wants cluster && run env FORKMARK_CACHE_CLUSTER=1 $pytest -k "not without_redis" tests/integration/test_access.py \
    tests/integration/test_auth.py tests/integration/test_bookmarks.py \
    tests/integration/test_clients.py tests/integration/test_lifetimes.py \
    tests/integration/test_main_job.py tests/integration/test_page_and_health.py \
    tests/integration/test_search.py
# The queue's master killed, stopped, moved, cut off; sentinels too; with TLS and passwords.
wants sentinel && run $pytest tests/long/test_sentinel_full.py
wants container && run $pytest tests/long/test_container.py
wants newcomer && run $pytest tests/long/test_newcomer.py -k test_a_newcomer
wants suites && run $pytest tests/long/test_newcomer.py -k test_the_whole_suite
# In a Debian 13 of its own; FORKMARK_TREE keeps it for the next time.
wants systemd && run $pytest tests/long/test_systemd.py

if wants fuzz; then
    quietly cmake --preset fuzz
    quietly cmake --build build-fuzz --target fuzz_targets
    for target in build-fuzz/fuzz/*; do
        run sh tests/fuzz.sh "$FUZZ_SECONDS" "$target" -verbosity=0 -print_final_stats=1
    done
fi

# The smoke part of the integration suite under valgrind: every process of the tree.
if wants valgrind; then
    run env FORKMARK_VALGRIND=1 $pytest tests/integration/test_main_job.py
fi

printf '\n%s\n' "$([ "$failed" = 0 ] && echo 'long tests: all passed' || echo "long tests: $failed failed")"
[ "$failed" = 0 ]

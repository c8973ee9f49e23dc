#!/bin/sh
# Side by side: RQ's own workers and forkmark's consumers running jobs that do nothing, from
# the same Redis. Needs a release build (cmake --preset release && cmake --build build).
# About three minutes; `--seconds N` per measurement (default 4), `--rounds N` (default 3).
set -eu
cd "$(dirname "$0")/../.."
[ -x build/forkmark ] || { cmake --preset release >/dev/null && cmake --build build; }
exec /usr/bin/python3 -W ignore tests/bench/jobs.py "$@"

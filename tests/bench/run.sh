#!/bin/sh
# Side by side: one forkmark worker and the same routes in Flask under Gunicorn gevent.
# Needs a release build (cmake --preset release && cmake --build build) and the packages
# of config/packages/bench. About four minutes; `--seconds N` a turn (default 3),
# `--rounds N` (default 9), `--connections N` of wrk (default 128).
set -eu
cd "$(dirname "$0")/../.."
[ -x build/forkmark ] || { cmake --preset release >/dev/null && cmake --build build; }
exec /usr/bin/python3 tests/bench/side_by_side.py "$@"

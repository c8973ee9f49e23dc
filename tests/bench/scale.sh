#!/bin/sh
# What growing past one machine costs, in processor time a request: LSN routing and read
# replicas against one database, a Redis Cluster against one Redis. Needs a release build and the packages of
# config/packages/bench. `scale.sh HALF ...` measures only these; `--runs N` (default 10),
# `--seconds N` of each run (default 4), `--json FILE`. About four minutes a half.
set -eu
cd "$(dirname "$0")/../.."
[ -x build/forkmark ] || { cmake --preset release >/dev/null && cmake --build build; }
exec /usr/bin/python3 tests/bench/scale.py "$@"

#!/bin/sh
# What clients notice of a worker that hangs, at a fifth of capacity. Needs a release build
# and the packages of config/packages/bench. About two minutes; `--seconds N`, `--rounds N`.
set -eu
cd "$(dirname "$0")/../.."
[ -x build/forkmark ] || { cmake --preset release >/dev/null && cmake --build build; }
exec /usr/bin/python3 tests/bench/hung.py "$@"

#!/bin/sh
# What the whole tree costs while it idles, and how soon it serves, against the limits it
# is to keep. Needs a release build (cmake --preset release && cmake --build build).
# A minute and a half; `--seconds N` of idling (default 60), `--starts N` (default 10).
set -eu
cd "$(dirname "$0")/../.."
[ -x build/forkmark ] || { cmake --preset release >/dev/null && cmake --build build; }
exec /usr/bin/python3 tests/bench/idle.py "$@"

#!/bin/sh
# From a fresh clone to a running server: installs what is missing, builds, serves.
#
#   sh config/quickstart.sh [--build-only] [arguments for forkmark serve ...]
#
# Works as root and with sudo, on Debian 12 and 13. Data goes to ./data, or to
# FORKMARK_DATA; the address is printed when the server is ready. Ctrl-C ends it.
set -eu
cd "$(dirname "$0")/.."

case "${1-}" in
-h | --help)
    sed -n '2,/^set/{/^# \{0,1\}/!d;s/^# \{0,1\}//;p;}' "$0"
    exit 0
    ;;
--build-only)
    build_only=yes
    shift
    ;;
*) build_only= ;;
esac

say() { printf '%s\n' "forkmark: $*" >&2; }

lists=build
[ -n "$build_only" ] || lists="run build"
# shellcheck disable=SC2086  # two words
sh config/install.sh $lists

# Configured anew only when the folder is new: ninja notices the rest by itself.
[ -f build/build.ninja ] || cmake --preset release -DFORKMARK_TESTS=OFF >/dev/null
say "building"
# Quiet while all is well; what ninja has to say about an error is shown.
if ! cmake --build build --target forkmark >build/quickstart.log 2>&1; then
    grep -E 'error|FAILED|undefined' build/quickstart.log | head -n 20 >&2
    say "the build failed; everything is in build/quickstart.log"
    exit 1
fi
say "built build/forkmark, $(build/forkmark version)"
[ -z "$build_only" ] || exit 0

exec build/forkmark serve "$@"

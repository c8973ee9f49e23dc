#!/bin/sh
# sh tests/fuzz.sh SECONDS TARGET [OPTION...]: one fuzz target, from the texts kept for it
# in tests/fuzz/; what it finds is printed.
set -u
cd "$(dirname "$0")/.."
seconds=$1
target=$2
shift 2
name=$(basename "$target")
seeds="tests/fuzz/${name#fuzz_}"
found=$(mktemp -d "${TMPDIR:-/tmp}/fm-fuzz-XXXXXX")
trap 'rm -rf "$found"' EXIT
[ -d "$seeds" ] || seeds=

# shellcheck disable=SC2086
"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$found/" "$@" "$found" $seeds

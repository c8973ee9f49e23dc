#!/bin/sh
# Installs what is missing, builds with sanitizers, runs every quick test on private
# servers, and ends with "N passed, N failed". Slow ones: tests/long.sh.
#
#   sh tests/run.sh            everything
#   sh tests/run.sh unit       only these parts: lint unit fuzz integration interop browser
set -u
cd "$(dirname "$0")/.."
parts=${*:-lint unit fuzz integration interop browser}
passed=0
failed=0
FUZZ_SECONDS=${FUZZ_SECONDS:-5}
python=/usr/bin/python3
work=$(mktemp -d "${TMPDIR:-/tmp}/fm-run-XXXXXX")
lint=
interop=
trap 'for each in $lint $interop; do kill -- "-$each" 2>/dev/null; done; rm -rf "$work"' EXIT

sh config/install.sh run build test || exit 1

# A memory leak, an overflow or undefined behaviour ends the process that did it.
export ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=0:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
export LSAN_OPTIONS="print_suppressions=0"
export FORKMARK_BIN="$PWD/build-asan/forkmark"

say() { printf '\n== %s\n' "$*"; }
wants() { case " $parts " in *" $1 "*) return 0 ;; esac; return 1; }

# two_at_a_time COMMAND... -- TARGET...: one test a target, which COMMAND runs.
# What they use, servers and folders, is their own.
two_at_a_time() {
    command=
    while [ "$1" != -- ]; do command="$command $1" && shift; done
    shift
    export work command
    rm -f "$work/bad" && touch "$work/bad"
    printf '%s\n' "$@" | xargs -P 2 -n 1 sh -c '
        name=$(basename "$1")
        if $command "$1" >"$work/$name.out" 2>&1; then
            echo good
        else
            echo bad
            { printf "FAILED %s\n" "$name"; tail -n 60 "$work/$name.out"; } >"$work/$name.bad"
            cat "$work/$name.bad" >>"$work/bad"
        fi' sh >"$work/verdicts"
    cat "$work/bad"
    passed=$((passed + $(grep -c good "$work/verdicts")))
    failed=$((failed + $(grep -c bad "$work/verdicts")))
}

pytest="$python -m pytest -q --tb=short -p no:cacheprovider -rs --durations=5"

# count_pytest PART STATUS: shows what it printed, and adds its own counts to ours.
count_pytest() {
    cat "$work/$1"
    summary=$(tail -n 1 "$work/$1")
    count() { printf '%s\n' "$summary" | grep -oE "[0-9]+ $1" | cut -d' ' -f1; }
    p=$(count passed) f=$(count failed) e=$(count 'errors?')
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-0} + ${e:-0}))
    # Nothing collected, or pytest itself broke: that is a failure too.
    if [ "$2" -ne 0 ] && [ "$((${f:-0} + ${e:-0}))" -eq 0 ]; then
        failed=$((failed + 1))
        echo "FAILED pytest tests/$1 (status $2)"
    fi
}

build() {
    say "building ($1)"
    cmake --preset "$1" >"$work/out" 2>&1 && cmake --build "build-$1" --target "$2" >"$work/out" 2>&1 &&
        { [ -z "${3:-}" ] || cmake --build "build-$1" --target "$3" >"$work/out" 2>&1; } || {
        cat "$work/out"
        echo "0 passed, 1 failed"
        exit 1
    }
}

build asan all unit_tests

# On what the tests leave of the processors: they wait for clocks most of their time.
if wants lint; then
    setsid chrt --idle 0 sh tests/lint.sh >"$work/lint" 2>&1 &
    lint=$!
fi

if wants unit; then
    say "unit tests"
    two_at_a_time timeout 120 -- build-asan/unit/*
fi

# These wait for clocks two thirds of their time: the two long parts do so side by side.
# A shell without job control ignores these signals in whatever goes on beside it.
if wants interop; then
    setsid env --default-signal=INT,QUIT $pytest tests/interop >"$work/interop" 2>&1 &
    interop=$!
fi

if wants integration; then
    say "integration tests"
    $pytest tests/integration >"$work/integration" 2>&1
    count_pytest integration $?
fi

if wants interop; then
    say "interoperation with RQ"
    wait "$interop"
    count_pytest interop $?
    interop=
fi

if wants browser; then
    say "browser tests"
    $pytest tests/browser >"$work/browser" 2>&1
    count_pytest browser $?
fi

if wants fuzz; then
    build fuzz fuzz_targets
    say "fuzzing, $FUZZ_SECONDS s a target"
    two_at_a_time sh tests/fuzz.sh "$FUZZ_SECONDS" -- build-fuzz/fuzz/*
fi

if wants lint; then
    say "format and static checks"
    wait "$lint" || grep -q '^FAILED' "$work/lint" || echo "FAILED tests/lint.sh" >>"$work/lint"
    lint=
    grep -v '^passed' "$work/lint"
    passed=$((passed + $(grep -c '^passed' "$work/lint")))
    failed=$((failed + $(grep -c '^FAILED' "$work/lint")))
fi

printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

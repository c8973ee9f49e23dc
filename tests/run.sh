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
trap 'exit 130' INT
trap 'exit 143' TERM

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

pytest="$python -m pytest -q --tb=short -rs --durations=5"
unsteady=0

# in_pytest PART: the tests of tests/PART; what failed is remembered in $work.
in_pytest() { $pytest -o "cache_dir=$work/cache-$1" "tests/$1" >"$work/$1" 2>&1; }

# number WORD FILE: "3 passed, 1 failed" is pytest's last line.
number() { tail -n 1 "$2" | grep -oE "[0-9]+ $1" | cut -d' ' -f1 | grep . || echo 0; }

# once_more PART: tests of many processes and of real seconds, two parts side by side on a
# machine that others may use as well: a few that failed are tried again alone. Both
# outcomes are shown, and what fails twice counts.
once_more() {
    say "once more, alone: what failed of tests/$1"
    $pytest -o "cache_dir=$work/cache-$1" --lf --lfnf=none "tests/$1" >"$work/again" 2>&1
    again=$?
    cat "$work/again"
    [ "$again" -eq 0 ] && [ "$(number skipped "$work/again")" -eq 0 ]
}

# count_pytest PART STATUS: shows what it printed, and adds its own counts to ours.
count_pytest() {
    cat "$work/$1"
    bad=$(($(number failed "$work/$1") + $(number 'errors?' "$work/$1")))
    passed=$((passed + $(number passed "$work/$1")))
    if [ "$2" -eq 1 ] && [ "$bad" -gt 0 ] && [ "$bad" -le 3 ] && once_more "$1"; then
        passed=$((passed + $(number passed "$work/again")))
        unsteady=$((unsteady + bad))
        return
    fi
    failed=$((failed + bad))
    # Nothing collected, or pytest itself broke: that is a failure too.
    if [ "$2" -ne 0 ] && [ "$bad" -eq 0 ]; then
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

# The two long parts leave the processors idle much of their time: they go on side by side.
# A shell without job control ignores these signals in whatever goes on beside it.
if wants interop; then
    setsid env --default-signal=INT,QUIT $pytest -o "cache_dir=$work/cache-interop" tests/interop \
        >"$work/interop" 2>&1 &
    interop=$!
fi

if wants integration; then
    say "integration tests"
    in_pytest integration
    integration=$?
fi
if wants interop; then
    wait "$interop"
    status=$?
    interop=
fi
if wants integration; then
    count_pytest integration "$integration"
fi
if wants interop; then
    say "interoperation with RQ"
    count_pytest interop "$status"
fi

if wants browser; then
    say "browser tests"
    in_pytest browser
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

[ "$unsteady" -eq 0 ] || printf '\nunsteady: %s passed only alone, see "once more" above\n' "$unsteady"
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

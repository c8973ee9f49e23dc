#!/bin/sh
# sh tests/lint.sh: format and static checks of what build-asan/ compiled. A line for each:
# "passed NAME" or "FAILED NAME" and what was found.
set -u
cd "$(dirname "$0")/.."
failed=0

check() {
    name=$1
    shift
    if found=$("$@" 2>&1); then
        echo "passed $name"
    else
        failed=1
        printf 'FAILED %s\n%s\n' "$name" "$found"
    fi
}

formatted() {
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
}

tidy() {
    git ls-files 'common/*.c' 'sql/*.c' 'jobs/*.c' 'worker/*.c' 'master/*.c' |
        xargs -P 2 -n 4 clang-tidy -p build-asan --quiet 2>/dev/null
}

shell_syntax() {
    git ls-files '*.sh' | xargs -n 1 sh -n
}

version=$(clang-format --version 2>/dev/null | grep -oE 'version [0-9]+' | cut -d' ' -f2)
if [ "${version:-0}" = 14 ]; then
    check clang-format formatted
    check clang-tidy tidy
else
    echo "skipped: the rules are written for version 14 of clang-format and clang-tidy, here is ${version:-none}"
fi
check "shell syntax" shell_syntax
exit "$failed"

#!/bin/sh
# Installs what is missing of the named lists: config/install.sh run build
# `config/install.sh completion` installs bash's completion of forkmark's command line:
# as root for everybody (below $DESTDIR if that is set), else for oneself.
#
# Only packages that are not there yet; nothing is upgraded. No service is left
# running that was not running before, none that was is touched: while packages are
# unpacked, policy-rc.d forbids starting anything, and services that a package
# would start at the next boot are disabled when this script installed it.
set -eu
lists=$(cd "$(dirname "$0")/packages" && pwd)

say() { printf '%s\n' "forkmark: $*" >&2; }

install_completion() {
    if [ "$(id -u)" = 0 ] || [ -n "${DESTDIR:-}" ]; then
        folder=${DESTDIR:-}/usr/share/bash-completion/completions
    else
        folder=${XDG_DATA_HOME:-$HOME/.local/share}/bash-completion/completions
    fi
    mkdir -p "$folder"
    # The package bash-completion loads the file of a command's name at its first use.
    cp "$lists/../completion/forkmark.bash" "$folder/forkmark"
    chmod 644 "$folder/forkmark"
    say "completion for bash: $folder/forkmark"
}
if [ "${1:-}" = completion ]; then
    install_completion
    shift
    [ $# -gt 0 ] || exit 0
fi

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The first alternative of "a|b" that is installed, else the first apt knows.
choose() {
    for name in $(printf '%s' "$1" | tr '|' ' '); do
        is_installed "$name" && { echo "$name"; return; }
    done
    for name in $(printf '%s' "$1" | tr '|' ' '); do
        apt-cache show "$name" >/dev/null 2>&1 && { echo "$name"; return; }
    done
    echo "${1%%|*}"
}

missing() {
    for list in "$@"; do
        [ -f "$lists/$list" ] || { say "no package list $lists/$list"; exit 1; }
        sed -e 's/#.*//' -e '/^ *$/d' "$lists/$list" | while read -r entry; do
            name=$(choose "$entry")
            is_installed "$name" || echo "$name"
        done
    done | sort -u | tr '\n' ' '
}

wanted=$(missing "$@")
[ -n "${wanted% }" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    say "these packages are missing, and installing them needs root or sudo:"
    say "  apt-get install $wanted"
    exit 1
fi
say "installing: $wanted"

# Alternatives can be told apart only once apt knows its packages.
$as_root apt-get update -q >/dev/null || say "apt-get update failed; trying with the lists there are"
wanted=$(missing "$@")

# Both files are put in place for the time of the installation, and what was there
# before comes back as it was, also when this script is interrupted.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.conf
kept=$(mktemp -d)
made_policy=
cleanup() {
    if [ -e "$kept/policy" ]; then
        $as_root cp -p "$kept/policy" "$policy"
    elif [ -n "$made_policy" ]; then
        $as_root rm -f "$policy"
    fi
    [ ! -e "$kept/cluster" ] || $as_root cp -p "$kept/cluster" "$cluster"
    $as_root rm -rf "$kept"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
forbids_starts() { # 101: "action forbidden by policy"
    [ -x "$policy" ] || return 1
    "$policy" redis-server start >/dev/null 2>&1 && return 1
    [ $? = 101 ]
}
if ! forbids_starts; then
    [ ! -e "$policy" ] || $as_root cp -p "$policy" "$kept/policy"
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    made_policy=yes
fi
# Without this the package would make a cluster of its own and start it at boot. The
# file may be there already without PostgreSQL: it belongs to postgresql-common.
if [ ! -e "$cluster" ]; then
    $as_root mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' | $as_root tee "$cluster" >/dev/null
elif ! grep -Eq '^[[:space:]]*create_main_cluster[[:space:]]*=[[:space:]]*false' "$cluster"; then
    $as_root cp -p "$cluster" "$kept/cluster"
    echo 'create_main_cluster = false' | $as_root tee -a "$cluster" >/dev/null
fi

# What a package enables to start at boot is disabled again, unless it was there before.
services=
for name in redis-server redis-sentinel pgbouncer nginx haproxy; do
    is_installed "$name" || services="$services $name"
done
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold $wanted >&2
not_at_boot() {
    if command -v systemctl >/dev/null 2>&1; then
        $as_root systemctl disable "$1.service"
    else # another init, or none yet: the package has made the links of both
        $as_root deb-systemd-helper disable "$1.service"
        $as_root update-rc.d "$1" disable
    fi
}
for name in $services; do
    ! is_installed "$name" || not_at_boot "$name" >/dev/null 2>&1 || true
done

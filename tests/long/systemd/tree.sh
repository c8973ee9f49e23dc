#!/bin/sh
# A Debian 13 with systemd and this forkmark, built in it and installed as its unit says.
#
#   tree.sh FOLDER    makes it (debootstrap); one that is there already is brought up to date
#
# Needs root and a Debian mirror: FORKMARK_MIRROR, or else the one apt uses here.
set -eu
tree=$1
source=$(cd "$(dirname "$0")/../../.." && pwd)
say() { printf 'tree.sh: %s\n' "$*" >&2; }

mirror() {
    # shellcheck disable=SC2016  # apt's own placeholders
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1
}

if [ ! -x "$tree/usr/lib/systemd/systemd" ]; then
    say "debootstrap into $tree"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,git,ca-certificates \
        trixie "$tree" "${FORKMARK_MIRROR:-$(mirror)}" >&2
fi
cp -L /etc/resolv.conf "$tree/etc/resolv.conf"

# The sources as they are here, committed or not.
mkdir -p "$tree/root/forkmark"
(cd "$source" && git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null |
    tar -c -T -) | tar -x -C "$tree/root/forkmark"

# apt's and the compilers' scripts want /proc; nothing of it stays mounted.
unshare --mount --pid --fork sh -eu -c '
    mount --make-rprivate /
    mount -t proc proc "$1/proc"
    mount -t tmpfs tmpfs "$1/dev/shm" 2>/dev/null || true
    exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive sh -eu -c "
            cd /root/forkmark
            sh config/install.sh run build
            cmake --preset release -DFORKMARK_TESTS=OFF >/dev/null
            nice cmake --build build --target forkmark
            install -m 755 build/forkmark /usr/local/bin/forkmark
            install -m 644 config/systemd/forkmark.* /etc/systemd/system/
            id forkmark >/dev/null 2>&1 || useradd --system --home-dir /var/lib/forkmark \
                --shell /usr/sbin/nologin forkmark
            systemctl disable redis-server.service postgresql.service >/dev/null 2>&1 || true
            systemctl mask apt-daily.timer apt-daily-upgrade.timer systemd-udevd.service \
                >/dev/null 2>&1 || true
            systemctl set-default multi-user.target >/dev/null 2>&1 || true
        "
' tree "$tree" >&2
say "$tree is ready"

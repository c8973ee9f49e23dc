#!/bin/sh
# boot.sh TREE: systemd as process 1 of that tree, in namespaces of its own (processes,
# mounts, names, control groups, network). Runs until it is powered off; ending this
# process ends everything in it. Needs root and cgroup2.
set -eu
tree=$1
groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -z "$groups" ]; then
    echo "boot.sh: no cgroup2 is mounted" >&2
    exit 1
fi
# What systemd takes for the root of all control groups is one of its own.
group="$groups/forkmark-test-$$"
mkdir "$group"
echo $$ >"$group/cgroup.procs"

exec unshare --pid --mount --uts --ipc --cgroup --net --fork --kill-child sh -eu -c '
    mount --make-rprivate /
    mount --bind "$1" "$1"
    cd "$1"
    ip link set lo up
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    for name in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do
        mknod -m 666 "dev/${name% *}" c 1 "${name#* }"
    done
    mknod -m 666 dev/tty c 5 0
    ln -s /proc/self/fd dev/fd
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    hostname forkmark-test
    pivot_root . mnt
    cd /
    umount -l /mnt
    exec env -i container=forkmark-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /usr/lib/systemd/systemd --log-target=journal
' boot "$tree" </dev/null

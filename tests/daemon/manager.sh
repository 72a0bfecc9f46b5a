#!/bin/sh
# Run a program beside a service manager of its own, which nobody else notices: a systemd that serves the units of a directory,
# in namespaces and a cgroup that end with this. For root.
#
# usage: unshare -m manager.sh DIRECTORY COMMAND...
# DIRECTORY has the units; default.target is started. The manager's log is DIRECTORY/log.
set -eu

SYSTEMD=/lib/systemd/systemd

outside() {
    directory=$1
    mkdir "$directory/cgroup"
    mount -t cgroup2 none "$directory/cgroup"
    own=$directory/cgroup/fanfpd-tests-$$
    before=$directory/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir "$own"
    echo $$ >"$own/cgroup.procs"
    code=0
    unshare --cgroup --pid --fork --mount-proc --kill-child "$0" --inside "$@" || code=$?
    echo $$ >"$before/cgroup.procs"
    for _ in 1 2 3 4 5 6 7 8 9 10; do  # until all that was in it has ended
        find "$own" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.2
    done
    [ ! -e "$own" ] || { echo "$0: $own is left" >&2; code=99; }
    umount "$directory/cgroup"
    rmdir "$directory/cgroup"
    exit "$code"
}

inside() {
    directory=$1
    shift
    mount -t tmpfs none /run
    mount -t tmpfs none /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    mkdir -p /run/systemd/system /run/user  # what tells that systemd has started this machine
    export XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH="$directory" SYSTEMD_LOG_TARGET=console
    "$SYSTEMD" --user >"$directory/log" 2>&1 &
    until systemctl --user is-active -q default.target 2>/dev/null; do
        kill -0 $! || exit 98
        sleep 0.1
    done
    "$@"
}

mount --make-rprivate /
if [ "$1" = --inside ]; then
    shift
    inside "$@"
else
    outside "$@"
fi

#!/bin/sh
# Install what is missing: Debian packages, a virtual environment, this package in it.
#
# usage: tools/setup.sh VENV
# PYTHON=...    the interpreter to use, instead of the one that is found
# FANFP_PURE=1  do not compile the package's inner modules to C (hatch_build.py)
set -eu

PYTHON_MIN_MINOR=11

# What the tests need, each with a command or file that shows that it is there. The compiler also makes the package
# faster; with it go Python's headers (see headers_package).
PACKAGES='
gcc             gcc
libc6-dev       /usr/include/stdio.h
mount           mount
util-linux      unshare
e2fsprogs       mkfs.ext4
xfsprogs        mkfs.xfs
btrfs-progs     mkfs.btrfs
inotify-tools   inotifywait
clang           clang
libbpf-dev      /usr/include/bpf/bpf_helpers.h
mandoc          mandoc
systemd         systemd-analyze
'
# Virtual machines with other kernels: make test, make vm and the like.
PACKAGES_VM='
qemu-system-x86 qemu-system-x86_64
busybox-static  /var/lib/dpkg/info/busybox-static.list
kmod            depmod
'
# Only compared with in the benchmark, which says so when one is missing.
PACKAGES_BENCH='
fatrace         fatrace
'

say() { printf 'setup: %s\n' "$*" >&2; }

is_new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < (3, $PYTHON_MIN_MINOR))" 2>/dev/null; }

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Debian's interpreter first: every user can run it, which one in somebody's home does not give.
candidates() {
    echo /usr/bin/python3
    for minor in 20 19 18 17 16 15 14 13 12 11; do
        command -v "python3.$minor" || true
    done
    command -v python3 || true
}

# The Debian package that brings venv to an interpreter of Debian's, or nothing.
venv_package() {
    case $1 in
    /usr/bin/python3) echo python3-venv ;;
    /usr/bin/python3.*) echo "${1#/usr/bin/}-venv" ;;
    esac
}

# The Debian package that has the headers of an interpreter of Debian's, or nothing: others bring theirs.
headers_package() {
    case $1 in
    /usr/bin/python3) echo python3-dev ;;
    /usr/bin/python3.*) echo "${1#/usr/bin/}-dev" ;;
    esac
}

has_headers() { [ -e "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; }

is_pure() { [ -n "${FANFP_PURE:-}" ] && [ "$FANFP_PURE" != 0 ]; }

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || { say "no such interpreter: $PYTHON"; exit 1; }
        return
    fi
    for found in $(candidates); do
        if is_new_enough "$found" && { has_venv "$found" || can_install && [ -n "$(venv_package "$found")" ]; }; then
            echo "$found"
            return
        fi
    done
    say "no Python 3.$PYTHON_MIN_MINOR or newer with venv found; install one (with Debian: python3 python3-venv), or name it: PYTHON=..."
    exit 1
}

is_there() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

missing() {
    echo "$1" | while read -r package shows; do
        [ -z "$package" ] || is_there "$shows" || echo "$package"
    done
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >/dev/null </dev/null; }

# shellcheck disable=SC2086  # lists of words
install_packages() {
    needed=$1 vm=$2 optional=$3
    [ -n "$needed$vm$optional" ] || return 0
    if ! can_install; then
        say "missing, and not installed (that needs root and apt-get):" $needed $vm $optional
        say "tests that need them are skipped or fail; to install: apt-get install" $needed $vm $optional
        return 0
    fi
    say "installing Debian packages:" $needed $vm $optional
    apt update
    [ -z "$needed" ] || apt install --no-install-recommends $needed
    [ -z "$vm" ] || install_for_vm $vm || say "without, so that make test and make vm will fail:" $vm
    for package in $optional; do
        apt install --no-install-recommends "$package" || say "going on without $package"
    done
}

# After Debian 12, virtiofsd is in a package of its own.
install_for_vm() {
    apt install --no-install-recommends "$@" || return
    is_there /usr/lib/qemu/virtiofsd || is_there /usr/libexec/virtiofsd || apt install --no-install-recommends virtiofsd
}

main() {
    venv=$1
    python=$(choose_python)
    is_new_enough "$python" || { say "$python is older than Python 3.$PYTHON_MIN_MINOR"; exit 1; }
    needed=$(missing "$PACKAGES")
    has_venv "$python" || needed="$needed $(venv_package "$python")"
    headers=$(is_pure || has_headers "$python" || headers_package "$python")
    install_packages "$needed" "$(missing "$PACKAGES_VM")" "$(missing "$PACKAGES_BENCH")${headers:+ $headers}"
    if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "making $venv with $("$python" --version) ($python)"
        "$python" -m venv --clear "$venv"
    fi
    say "installing the package and its tools into $venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input -e '.[dev,bench]'
    why=$("$venv/bin/python" -c 'import hatch_build; print(hatch_build.why_pure() or "")')
    [ -z "$why" ] || say "not compiled: slower, and without the kernel engine: $why"
    say "done; the command is $venv/bin/fanfp"
}

main "$@"

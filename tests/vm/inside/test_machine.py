"""The machine is what the tests in it rely on."""

import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest

from fanotify_fastpath.lowlevel import read_mounts
from mounting import Mounter


def filesystem_types() -> dict[str, str]:
    """The type of the filesystem by mountpoint."""
    return {os.fsdecode(mount.mountpoint): os.fsdecode(mount.fs_type) for mount in read_mounts().values()}


def test_the_kernel_is_the_one_that_was_asked_for() -> None:
    assert os.uname().release == os.environ["FP_VM_RELEASE"]
    assert os.uname().release.startswith(os.environ["FP_VM_KERNEL"] + ".")


def test_the_root_filesystem_cannot_be_written() -> None:
    for directory in ("/", "/etc", "/usr", "/usr/lib"):
        with pytest.raises(OSError, match=r"Read-only") as caught:
            Path(directory, "fanotify-fastpath-was-here").touch()
        assert caught.value.errno == errno.EROFS


def test_the_root_filesystem_stays_as_it_is_when_it_is_mounted_read_write() -> None:
    subprocess.run(["mount", "-o", "remount,rw", "/"], check=True)
    try:
        with pytest.raises(OSError, match=r"Read-only") as caught:
            Path("/etc/fanotify-fastpath-was-here").touch()
    finally:
        subprocess.run(["mount", "-o", "remount,ro", "/"], check=True)
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize("directory", ["/tmp", "/var/tmp", "/run", "/dev/shm"])
def test_temporary_files_are_kept_in_memory(directory: str, request: pytest.FixtureRequest) -> None:
    assert filesystem_types()[directory] == "tmpfs"
    path = Path(directory, request.node.name.replace("/", "-"))
    path.write_bytes(b"x")
    path.unlink()


def test_what_is_written_below_the_checkout_is_kept_in_memory() -> None:
    checkout = Path(__file__).parents[3]
    assert filesystem_types()[str(checkout)] == "overlay"
    path = checkout / "build" / "was-here"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.unlink()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"])
def test_filesystems_can_be_mounted(mounts: Mounter, kind: str) -> None:
    path = mounts.make(kind) / "file"
    path.write_bytes(b"content")
    assert path.read_bytes() == b"content"


def test_the_pseudo_filesystems_are_there() -> None:
    types = filesystem_types()
    expected = {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "devtmpfs",
        "/sys/fs/bpf": "bpf",
        "/sys/kernel/debug": "debugfs",
    }
    assert {where: types[where] for where in expected} == expected


def test_the_kernel_tells_its_types_and_lets_bpf_programs_decide() -> None:
    assert Path("/sys/kernel/btf/vmlinux").read_bytes()[:2] == b"\x9f\xeb"
    assert "bpf" in Path("/sys/kernel/security/lsm").read_text().strip().split(",")


def test_modules_are_where_they_are_looked_for() -> None:
    assert Path("/lib/modules", os.uname().release, "modules.dep").exists()


def test_the_loopback_interface_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"x")
        with server.accept()[0] as connection:
            assert connection.recv(1) == b"x"

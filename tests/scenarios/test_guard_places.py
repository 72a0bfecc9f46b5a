"""Finding the directory of what was opened where no file handle names it (before Linux 6.13), played on any kernel."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import everywhere
from fanotify_fastpath._engines.fanotify.permission import places
from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystem as View
from fanotify_fastpath._engines.fanotify.permission.filesystems import Filesystems
from fanotify_fastpath._uapi.constants import AT_EMPTY_PATH, AT_FDCWD
from fanotify_fastpath._uapi.detached_mount import clone_mount
from fanotify_fastpath._uapi.maps import mapped_path
from fanotify_fastpath._uapi.syscalls import name_to_handle_at
from fanotify_fastpath.roots import FSID_BYTES, identify
from mounting import Mounter


@pytest.fixture
def view(top: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[View]:
    """The filesystem as a guardian sees it, on a kernel whose file handles name no directory."""

    def refuse(fd: int) -> bytes:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(places, "_connectable", refuse)
    filesystems, root = Filesystems(), identify(top)
    view = filesystems.open(root.key[:FSID_BYTES], root.mount_id)
    yield view
    filesystems.drop(view)


def handle_of(directory: Path | int) -> bytes:
    if isinstance(directory, int):
        return name_to_handle_at(directory, b"", AT_EMPTY_PATH)[0]
    return name_to_handle_at(AT_FDCWD, os.fsencode(directory))[0]


def found(fd: int, view: View, tgid: int | None = None) -> bytes | None:
    return places.locate(fd, os.fstat(fd), False, view, os.getpid() if tgid is None else tgid).directory


@contextlib.contextmanager
def opened(path: Path | str, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


@everywhere
@pytest.mark.parametrize("n_links", [1, 2])
@pytest.mark.parametrize("is_removed", [False, True])
def test_a_file_that_is_mounted_on_a_file(
    top: Path, view: View, mounts: Mounter, n_links: int, is_removed: bool
) -> None:
    file = top / "in/deep/er/f"
    if n_links > 1:
        os.link(file, top / "out/link")
    bound = mounts.bind(file, top / "out/f")
    if is_removed:
        file.unlink()
    with opened(bound) as fd:
        assert found(fd, view) == handle_of(file.parent)


@everywhere
@pytest.mark.parametrize("name", ["f", "new\nline", "f (deleted)", "b\\slash"])
@pytest.mark.parametrize("is_removed", [False, True])
def test_a_file_deeper_than_any_path(top: Path, view: View, name: str, is_removed: bool) -> None:
    directory = os.open(top / "in", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=directory)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=directory))
    with opened(name, directory) as fd:
        if is_removed:
            os.unlink(name, dir_fd=directory)
        path = mapped_path(fd)
        assert len(path) > 25 * 200
        assert path.endswith(os.fsencode(f"/{name}" + (" (deleted)" if is_removed else "")))
        assert found(fd, view) == handle_of(directory)
    os.close(directory)


@everywhere
def test_a_file_through_a_mount_in_no_namespace(top: Path, view: View) -> None:
    mount = clone_mount(AT_FDCWD, os.fsencode(top / "in/deep"))
    with opened("er/f", mount) as fd:
        assert found(fd, view) == handle_of(top / "in/deep/er")
    os.link(top / "in/deep/er/f", top / "out/link")
    with opened("er/f", mount) as fd:
        assert found(fd, view) is None
    os.close(mount)


@everywhere
@pytest.mark.parametrize("n_links", [1, 2])
def test_a_file_in_another_namespace(top: Path, view: View, n_links: int) -> None:
    if n_links > 1:
        os.link(top / "in/deep/er/f", top / "out/link")
    script = 'mount --bind "$1/in/deep" "$1/out/deep"; echo; read line'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", str(top)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdin is not None
        assert stranger.stdout is not None
        stranger.stdout.readline()
        with opened(f"/proc/{stranger.pid}/root{top}/out/deep/er/f") as fd:
            assert found(fd, view, stranger.pid) == handle_of(top / "in/deep/er")
            assert found(fd, view) == (handle_of(top / "in/deep/er") if n_links == 1 else None)
        stranger.stdin.close()


def test_looking_for_the_path_of_a_file_is_not_reading_it(top: Path) -> None:
    file = top / "in/f"
    os.utime(file, (0, 0))
    with opened(file) as fd:
        assert mapped_path(fd) == os.fsencode(file)
    assert file.stat().st_atime == 0


def test_what_cannot_be_mapped_has_no_path(top: Path) -> None:
    with opened(top) as fd, pytest.raises(OSError, match="No such device"):
        mapped_path(fd)

"""Directories of the host that a machine sees, each served by a virtiofsd."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingTool

#: Debian 12 has it in qemu-system-common, Debian 13 in a package of its own
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
END_S = 5

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY = 1


class _MountAttr(ctypes.Structure):
    """:source: struct mount_attr, include/uapi/linux/mount.h"""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


@dataclass(frozen=True)
class Share:
    """
    A directory under the name by which a machine mounts it.

    :ivar directory: on the host
    :ivar is_read_only: nothing can be changed through it, whatever the machine does
    """

    tag: str
    directory: Path
    is_read_only: bool = False

    @contextmanager
    def served(self, work: Path) -> Iterator[Path]:
        """
        Serve the directory as long as the block runs.

        :param work: a directory for what the server needs
        :return: the socket for QEMU
        """
        path = work / f"{self.tag}.sock"
        with socket.socket(socket.AF_UNIX) as listener, (work / f"{self.tag}.log").open("wb") as log:
            listener.bind(str(path))
            listener.listen(1)
            # Only the root is large, and nothing there changes while a machine runs.
            cache = "always" if self.is_read_only else "auto"
            options = (f"source={self.directory}", "sandbox=chroot", f"cache={cache}", "announce_submounts")
            server = subprocess.Popen(
                [virtiofsd(), f"--fd={listener.fileno()}", *(f"-o{option}" for option in options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
                preexec_fn=die_with_parent(_make_all_read_only if self.is_read_only else None),
            )
        try:
            yield path
        finally:
            end(server)


def virtiofsd() -> str:
    """The path of the server."""
    for path in VIRTIOFSD:
        if Path(path).exists():
            return path
    found = shutil.which("virtiofsd")
    if found is None:
        raise MissingTool("virtiofsd", "qemu-system-common (Debian 12) or virtiofsd (newer)")
    return found


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, if need be by force, and wait for it."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def die_with_parent(then: Callable[[], None] | None = None) -> Callable[[], None]:
    """
    Make what a child calls before it becomes another program, so that it dies when this process dies.

    :param then: what else it calls
    """
    parent = os.getpid()

    def prepare() -> None:
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
        if os.getppid() != parent:  # it died in between
            os._exit(1)
        if then is not None:
            then()

    return prepare


def _make_all_read_only() -> None:
    """In a mount namespace of its own a server's whole view is read-only, and so the machine's is."""
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    attributes = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(attributes), size))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

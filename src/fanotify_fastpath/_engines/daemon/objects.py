"""What the daemon is shown: descriptors of roots, exceptions and marked objects, by which it sees who may read them."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from fanotify_fastpath.errors import KernelRefused, NotPermitted, PathNotFound, UnsupportedFeature
from fanotify_fastpath.roots import Root, identify

_LOOK = os.O_PATH | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextlib.contextmanager
def opened(root: Root, *, for_reading: bool) -> Iterator[int]:
    """
    Open an object by its path, and close it in the end: nothing is held open, so that its filesystem can be unmounted.

    :param for_reading: as a proof of the right to read it; else ``O_PATH``
    :raises PathNotFound: it is not there any more, or another one is
    :raises NotPermitted: this user may not read it
    :raises UnsupportedFeature: it is neither a directory nor a regular file
    """
    fd = _open(root, root.path, _LOOK)
    try:
        if identify(fd).key != root.key:
            raise PathNotFound(f"cannot watch {os.fsdecode(root.path)!r}: another object stands there", path=root.path)
        if for_reading:
            fd = _replaced(fd, root)
        yield fd
    finally:
        os.close(fd)


def _replaced(fd: int, root: Root) -> int:
    """The same object, opened for reading; what reading a device would do is not tried out."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UnsupportedFeature(
            f"cannot watch {os.fsdecode(root.path)!r}: the daemon takes directories and regular files", path=root.path
        )
    new = _open(root, b"/proc/self/fd/%d" % fd, _READ)
    os.close(fd)
    return new


def _open(root: Root, path: bytes, flags: int) -> int:
    what = f"cannot watch {os.fsdecode(root.path)!r}"
    try:
        return os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        raise PathNotFound(f"{what}: no such file or directory", path=root.path) from None
    except PermissionError as exc:
        raise NotPermitted(
            f"{what}: user {os.geteuid()} may not read it; the daemon tells users what they may see",
            exc.errno,
            root.path,
        ) from None
    except OSError as exc:
        raise KernelRefused(f"{what}: {exc.strerror}", exc.errno or errno.EIO, root.path) from None

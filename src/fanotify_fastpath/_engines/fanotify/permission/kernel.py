"""The kernel's side of a guardian: the groups that ask, and the one that tells which directories were moved."""

import contextlib
import errno
import os
from dataclasses import dataclass, field

from fanotify_fastpath._uapi import syscalls
from fanotify_fastpath._uapi.constants import AT_FDCWD, NOFD, InfoType, InitFlag, MarkFlag
from fanotify_fastpath._uapi.records import FSID_BYTES, MalformedRecord, walk
from fanotify_fastpath._uapi.responses import encode_response
from fanotify_fastpath.mask import EVENT_FLAGS, Mask

_READ_BYTES = 4096
_COMMON = InitFlag.CLOEXEC | InitFlag.NONBLOCK | InitFlag.UNLIMITED_QUEUE | InitFlag.UNLIMITED_MARKS
_REMEMBER = MarkFlag.ADD | MarkFlag.IGNORE_SURV | MarkFlag.EVICTABLE
#: of interest when they concern directories
_STRUCTURE = Mask.RENAME | Mask.DELETE
#: of interest when they concern other objects, which may be remembered and come to where they should not be
_ARRIVALS = Mask.MOVED_TO | Mask.CREATE
_FILE_CHANGES = Mask.ATTRIB | Mask.MOVE_SELF | Mask.DELETE_SELF
#: errors of taking a mark off that mean that it is gone already
_GONE = (errno.ENOENT, errno.ENODEV, errno.ESTALE, errno.ENOTDIR, errno.EINVAL)


@dataclass(slots=True)
class Question:
    """One permission event: somebody waits until its descriptor is answered."""

    mask: int
    fd: int
    tgid: int


class AskingGroup:
    """
    A group that is asked for permission.

    :param with_errno: denials may carry an error number (pre-content class)
    """

    def __init__(self, *, with_errno: bool) -> None:
        group_class = InitFlag.CLASS_PRE_CONTENT if with_errno else InitFlag.CLASS_CONTENT
        self.with_errno = with_errno
        self.fd = syscalls.fanotify_init(_COMMON | group_class)
        self._has_memory = False

    def add(self, kind: int, mask: int, target: bytes | int) -> None:
        """Add event types to the mark of an object, given by path or descriptor."""
        dir_fd, path = (target, None) if isinstance(target, int) else (AT_FDCWD, target)
        syscalls.fanotify_mark(self.fd, MarkFlag.ADD | kind, mask, dir_fd, path)

    def remove(self, kind: int, mask: int, target: bytes | int) -> None:
        """Take event types off a mark; nothing happens when it is gone."""
        dir_fd, path = (target, None) if isinstance(target, int) else (AT_FDCWD, target)
        try:
            syscalls.fanotify_mark(self.fd, MarkFlag.REMOVE | kind, mask, dir_fd, path)
        except OSError as exc:
            if exc.errno not in _GONE:
                raise

    def remember(self, target: int, mask: int) -> None:
        """Have the kernel not ask about one object, by an open descriptor; it forgets that when memory is short."""
        with contextlib.suppress(OSError):
            syscalls.fanotify_mark(self.fd, _REMEMBER, mask, target)
            self._has_memory = True

    def remember_directory(self, dir_fd: int, mask: int) -> None:
        """Have the kernel not ask about what lies in a directory."""
        with contextlib.suppress(OSError):
            syscalls.fanotify_mark(self.fd, _REMEMBER | MarkFlag.ONLYDIR, mask | Mask.EVENT_ON_CHILD, dir_fd, b".")
            self._has_memory = True

    def forget_object(self, fd: int, mask: int) -> None:
        """Have the kernel ask about an object again; ``O_PATH`` will do."""
        flags = MarkFlag.REMOVE | MarkFlag.IGNORE_SURV
        with contextlib.suppress(OSError):
            syscalls.fanotify_mark(self.fd, flags, mask, AT_FDCWD, b"/proc/self/fd/%d" % fd)

    def forget(self) -> None:
        """Take all back that was remembered."""
        if self._has_memory:
            syscalls.fanotify_mark(self.fd, MarkFlag.FLUSH, 0)
            self._has_memory = False

    def read(self) -> list[Question]:
        """Take some of what waits."""
        try:
            buffer = os.read(self.fd, _READ_BYTES)
        except OSError:  # also when the object cannot be opened for us: the kernel denied it then, and goes on
            return []
        questions = []
        for mask, fd, tgid, _ in walk(buffer):
            if fd > NOFD:
                questions.append(Question(mask, fd, tgid))
        return questions

    def answer(self, fd: int, allow: bool, code: int = 0) -> None:
        """Answer one question and close its descriptor. Who waited may be gone by now."""
        # First close: the number is enough for the kernel, and who goes on may want to unmount.
        os.close(fd)
        if self.fd < 0:
            return
        try:
            os.write(self.fd, encode_response(fd, allow, errno=code if self.with_errno and not allow else 0))
        except OSError as exc:
            if exc.errno == errno.EINVAL:  # no error numbers before Linux 6.14
                with contextlib.suppress(OSError):
                    os.write(self.fd, encode_response(fd, allow))

    def close(self) -> None:
        """Give up the marks; the kernel allows whatever waits."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(slots=True)
class Change:
    """
    Something that moved or went.

    :ivar mask: what happened; ``Q_OVERFLOW``: not known what
    :ivar key: identity of the object
    :ivar is_dir: it is a directory
    :ivar old: identity of the directory that it was in; or that it is in, if that is the only one
    :ivar new: for a rename: identity of the directory that it is in now
    """

    mask: int
    is_dir: bool = False
    key: bytes | None = None
    old: bytes | None = None
    new: bytes | None = None


@dataclass(slots=True)
class StructureGroup:
    """A group that is told what moves: directories, objects that arrive in a directory, roots that are files."""

    fd: int = field(
        default_factory=lambda: syscalls.fanotify_init(_COMMON | InitFlag.REPORT_DFID_NAME_TARGET),
    )
    has_memory: bool = False

    def follow(self, filesystem_fd: int) -> None:
        """Begin to follow what moves on a filesystem."""
        wanted = _STRUCTURE | _ARRIVALS | Mask.ONDIR
        syscalls.fanotify_mark(self.fd, MarkFlag.ADD | MarkFlag.FILESYSTEM, wanted, filesystem_fd)
        # An ignore mark without ONDIR ignores what is no directory: of files' renames and removals there are many.
        ignore = MarkFlag.ADD | MarkFlag.FILESYSTEM | MarkFlag.IGNORE_SURV
        syscalls.fanotify_mark(self.fd, ignore, _STRUCTURE, filesystem_fd)

    def ignore_arrivals(self, dir_fd: int) -> None:
        """What is made or moved into this directory is of no concern."""
        with contextlib.suppress(OSError):
            syscalls.fanotify_mark(self.fd, _REMEMBER | MarkFlag.ONLYDIR, _ARRIVALS | Mask.ONDIR, dir_fd, b".")
            self.has_memory = True

    def forget(self) -> None:
        """Take all inode marks off: those of :meth:`ignore_arrivals` and of :meth:`follow_file`."""
        if self.has_memory:
            syscalls.fanotify_mark(self.fd, MarkFlag.FLUSH, 0)
            self.has_memory = False

    def follow_file(self, fd: int) -> None:
        """Begin to follow one file: its names, and its end."""
        with contextlib.suppress(OSError):
            syscalls.fanotify_mark(self.fd, MarkFlag.ADD, _FILE_CHANGES, AT_FDCWD, b"/proc/self/fd/%d" % fd)
            self.has_memory = True

    def unfollow(self, filesystem_fd: int) -> None:
        """Stop following a filesystem."""
        with contextlib.suppress(OSError):
            flags = MarkFlag.REMOVE | MarkFlag.FILESYSTEM
            syscalls.fanotify_mark(self.fd, flags, _STRUCTURE | _ARRIVALS | Mask.ONDIR, filesystem_fd)
            syscalls.fanotify_mark(self.fd, flags | MarkFlag.IGNORE_SURV, _STRUCTURE, filesystem_fd)

    def read(self) -> list[Change]:
        """Take all that is queued, oldest first."""
        changes: list[Change] = []
        while True:
            try:
                buffer = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return changes
            try:
                changes += [_change(buffer, mask, infos) for mask, _, _, infos in walk(buffer)]
            except MalformedRecord:
                changes.append(Change(int(Mask.Q_OVERFLOW)))

    def close(self) -> None:
        """Close the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _change(buffer: bytes, mask: int, infos: list[tuple[int, int, int]]) -> Change:
    change = Change(mask & ~int(EVENT_FLAGS), bool(mask & Mask.ONDIR))
    for info_type, start, _ in infos:
        handle_at = start + FSID_BYTES
        end = handle_at + 8 + int.from_bytes(buffer[handle_at : handle_at + 4], "little")
        key = buffer[start:end]
        if info_type == InfoType.FID:
            change.key = key
        elif info_type == InfoType.NEW_DFID_NAME:
            change.new = key
        else:
            change.old = key
    return change

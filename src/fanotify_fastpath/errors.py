"""
Every error that this package raises, as one tree::

    FastpathError                         the root; never raised itself
    ├── InvalidArgument                   (ValueError, EINVAL) an argument that cannot be right
    │   └── CompileError                  (EINVAL) a handler that cannot be compiled for the kernel; says where and why
    ├── NotPermitted                      (PermissionError, EPERM) the caller lacks a right; names it
    ├── UnsupportedFeature                (OSError, EOPNOTSUPP) this kernel cannot do it; names the first that can
    │   └── UnsupportedFilesystem         (ENODEV, EXDEV, EOPNOTSUPP) this filesystem cannot be watched; says why
    ├── KernelRefused                     (OSError) a system call failed in a way that has no better name
    │   └── VerifierError                 (any errno) the kernel does not accept a BPF program; has its whole log
    ├── PathNotFound                      (FileNotFoundError, ENOENT) a path that does not exist
    ├── Closed                            (OSError, EBADF) the group was closed
    ├── LimitReached                      (OSError, EDQUOT) the daemon gives this user no more; names the limit
    ├── ProtocolError                     (OSError, EPROTO) client and daemon do not understand each other
    └── RegistryError                     (OSError) the registry of handlers refused
        ├── HandlerExists                 (FileExistsError, EEXIST) a handler of that name is registered
        ├── HandlerNotFound               (FileNotFoundError, ENOENT) no handler of that name, or it is going away
        ├── HandlerBusy                   (EBUSY) the group has a handler, or the handler is in use
        ├── HandlerRefused                (any errno) the handler's own ``init`` refused the arguments
        └── SourceRefused                 (ENOEXEC) a package or file from which no handlers can be loaded

Each carries ``errno``, so that ``except OSError`` works as for a system call, and a message that says what was
tried, why it failed and what to do next. Lost events are never an exception: they are events
(:attr:`fanotify_fastpath.Mask.Q_OVERFLOW`).
"""

import errno
import os
from typing import Any, TypeVar


class FastpathError(Exception):
    """
    The root of every error of this package.

    :ivar errno: the error number of the system call that this stands for
    """

    errno: int | None  # no value here: it would hide that of OSError


_E = TypeVar("_E", bound="_OSFastpathError")


class _OSFastpathError(FastpathError, OSError):
    """An error that is an OSError with one usual errno, and whose text is our own sentence."""

    default_errno = errno.EIO

    def __init__(self, message: str, code: int | None = None, path: str | bytes | None = None) -> None:
        """
        :param message: one sentence in lower case without a period
        :param code: the error number, when it is not the usual one of this class
        :param path: the path that was worked on, if there was one
        """
        super().__init__(self.default_errno if code is None else code, message)
        if path is not None:
            self.filename = os.fsdecode(path)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self.errno, self.strerror, self.filename, vars(self))


def _remade(kind: type[_E], code: int, message: str, filename: str | None, data: dict[str, Any]) -> _E:
    """An error that another process has pickled."""
    made = kind.__new__(kind)
    _OSFastpathError.__init__(made, message, code, filename)
    vars(made).update(data)
    return made


class InvalidArgument(_OSFastpathError, ValueError):
    """An argument that cannot be right on any machine."""

    default_errno = errno.EINVAL


class CompileError(InvalidArgument):
    """
    A handler cannot be compiled for the engine in the kernel.

    :ivar file: name of the source file
    :ivar line: number of the line, from 1
    :ivar column: of the first character, from 1
    :ivar excerpt: the line
    :ivar reason: why, and what to write instead
    """

    def __init__(self, file: str, line: int, column: int, excerpt: str, reason: str, n_carets: int = 1) -> None:
        """
        :param file: name of the source file
        :param line: number of the line, from 1
        :param column: of the first character, from 1
        :param excerpt: the line
        :param reason: why, and what to write instead
        :param n_carets: number of characters that it is about
        """
        self.file, self.line, self.column = file, line, column
        self.excerpt, self.reason = excerpt, reason
        text = excerpt.strip()
        indent = column - 1 - (len(excerpt) - len(excerpt.lstrip()))
        super().__init__(f"{file}:{line}:{column}: {reason}\n  {text}\n  {' ' * indent}{'^' * n_carets}")


class NotPermitted(_OSFastpathError, PermissionError):
    """The caller lacks a right; the message names the right and what works without it."""

    default_errno = errno.EPERM


class UnsupportedFeature(_OSFastpathError):
    """This kernel cannot do it; the message names the feature and the first kernel that has it."""

    default_errno = errno.EOPNOTSUPP


class UnsupportedFilesystem(UnsupportedFeature):
    """This filesystem cannot be watched, for the reason given."""


class KernelRefused(_OSFastpathError):
    """A system call failed in a way for which there is no better name here."""


class VerifierError(KernelRefused):
    """
    The kernel's verifier does not accept a BPF program; the message has the last lines of its log that help.

    :ivar program: name of the program
    :ivar log: all that the verifier said, with its own line ends
    """

    def __init__(self, program: str, log: str, code: int | None = None) -> None:
        """
        :param program: name of the program
        :param log: what the verifier said
        :param code: the error number of the load
        """
        self.program = program
        self.log = log
        lines = _telling_lines(log)
        n_left_out = len(log.splitlines()) - len(lines)
        head = f"the kernel does not accept BPF program {program!r}; the end of its log ({n_left_out} lines left out):"
        super().__init__("\n  ".join([head, *lines]), code)


#: the verifier's closing lines, which count instructions and states
_COUNTS = ("processed ", "verification time ", "stack depth ", "peak_states ", "mark_read ")
_N_LINES = 8


def _telling_lines(log: str) -> list[str]:
    """The last lines of a verifier's log, without those that only count."""
    lines = [line.rstrip() for line in log.splitlines()]
    return [line for line in lines if line and not line.startswith(_COUNTS)][-_N_LINES:]


class PathNotFound(_OSFastpathError, FileNotFoundError):
    """A path that does not exist."""

    default_errno = errno.ENOENT


class Closed(_OSFastpathError):
    """The group or reader was closed, perhaps by another thread."""

    default_errno = errno.EBADF


class LimitReached(_OSFastpathError):
    """The daemon gives this user no more of something; the message names the limit."""

    default_errno = errno.EDQUOT


class ProtocolError(_OSFastpathError):
    """What came over a connection between client and daemon is no message of their protocol; the connection is over."""

    default_errno = errno.EPROTO


class RegistryError(_OSFastpathError):
    """The registry of handlers, or a group asked to attach one, refused."""


class HandlerExists(RegistryError, FileExistsError):
    """A handler of that name is registered already."""

    default_errno = errno.EEXIST


class HandlerNotFound(RegistryError, FileNotFoundError):
    """No handler of that name is registered, or it is going away."""

    default_errno = errno.ENOENT


class HandlerBusy(RegistryError):
    """The group has a handler already, or the handler is in use."""

    default_errno = errno.EBUSY


class HandlerRefused(RegistryError):
    """The handler's own ``init`` refused; ``errno`` is the number that it gave."""

    default_errno = errno.EINVAL


class SourceRefused(RegistryError):
    """No handlers can be loaded from a package or file; the message says why."""

    default_errno = errno.ENOEXEC

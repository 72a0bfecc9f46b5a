"""A process that is looked at on first use: the listener is told of the event the sooner."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from fanotify_fastpath.events import Process

_Known = TypeVar("_Known")


class LaterProcess(Process, Generic[_Known]):
    """
    A process that was met before and may have changed since.

    :param look: looks at it, given the other; may be called more than once, by several threads
    :param known: what is known of it
    """

    __slots__ = ("_known", "_look")

    def __init__(self, look: Callable[[_Known], Process], known: _Known) -> None:
        # what is not set is asked of __getattr__
        self._look = look
        self._known = known

    def settle(self) -> None:
        """Look now, and never again."""
        found = self._look(self._known)
        self.uid, self.comm, self.exe = found.uid, found.comm, found.exe

    def __getattr__(self, name: str) -> Any:
        if name not in Process.__slots__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.settle()
        return getattr(self, name)

    def __reduce__(self) -> tuple[type[Process], tuple[int | None, str | None, str | None]]:
        return Process, (self.uid, self.comm, self.exe)

"""
The registry: the list of handlers that anyone can attach by name.

Life of a handler, as in the RFC: ``register`` (the name must be new) → attached to any number of groups →
``unregister`` (delisted: new attaches fail with ENOENT, groups that have it keep it) or ``unload`` (refused with EBUSY
while a group has it).
"""

import threading
from collections.abc import Iterator
from typing import TypeVar

from fanotify_fastpath.errors import HandlerBusy, HandlerExists, HandlerNotFound
from fanotify_fastpath.handlers import Handler, HandlerFlags, check_handler

H = TypeVar("H", bound=type[Handler])


class Registry:
    """A list of handlers with unique names. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, type[Handler]] = {}
        self._users: dict[type[Handler], int] = {}

    def register(self, handler: H) -> H:
        """
        Add a handler; also usable as a class decorator.

        :param handler: a subclass of :class:`Handler`
        :return: the same class
        :raises InvalidArgument: its declaration is not right (name over 63 bytes, unknown flag, arguments too large)
        :raises HandlerExists: a handler of that name is registered
        """
        check_handler(handler)
        with self._lock:
            if handler.name in self._handlers:
                raise HandlerExists(
                    f"cannot register handler {handler.name!r}: that name is taken; unregister it first"
                )
            self._handlers[handler.name] = handler
        return handler

    def unregister(self, name: str) -> None:
        """
        Delist a handler. Groups that have it attached keep it; new attaches fail.

        :raises HandlerNotFound: no handler of that name
        """
        with self._lock:
            self._get(name)
            del self._handlers[name]

    def unload(self, name: str) -> None:
        """
        Delist a handler, but only if no group has it.

        :raises HandlerNotFound: no handler of that name
        :raises HandlerBusy: a group has it attached
        """
        with self._lock:
            users = self._users.get(self._get(name), 0)
            if users:
                raise HandlerBusy(f"cannot unload handler {name!r}: {users} group(s) have it attached; detach it first")
            del self._handlers[name]

    def get(self, name: str) -> type[Handler]:
        """
        Look a handler up.

        :raises HandlerNotFound: no handler of that name
        """
        with self._lock:
            return self._get(name)

    def users(self, handler: type[Handler]) -> int:
        """Number of attaches of *handler* that live now, delisted or not."""
        with self._lock:
            return self._users.get(handler, 0)

    def __iter__(self) -> Iterator[type[Handler]]:
        with self._lock:
            return iter(sorted(self._handlers.values(), key=lambda handler: handler.name))

    def __contains__(self, name: object) -> bool:
        with self._lock:
            return name in self._handlers

    def _get(self, name: str) -> type[Handler]:
        if name not in self._handlers:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise HandlerNotFound(f"no handler named {name!r} is registered; registered are {known}")
        return self._handlers[name]

    def _use(self, handler: type[Handler], change: int) -> None:
        """Count one attach more (+1) or less (-1)."""
        with self._lock:
            users = self._users.get(handler, 0) + change
            if users:
                self._users[handler] = users
            else:
                self._users.pop(handler, None)


def describe(handler: type[Handler]) -> dict[str, str]:
    """
    Give what the RFC's discovery tree gives, as exact text.

    :return: ``flags`` (names separated by a space), ``desc`` and ``init_args`` (``N/A`` when empty), each with a
        newline
    """
    flags = [flag.name or "" for flag in HandlerFlags if flag in handler.flags]
    arguments = "; ".join(f"{a.name}: {a.kind.describe()} ({a.desc})" for a in handler.arguments)
    return {
        "flags": " ".join(flags) + "\n",
        "desc": (handler.desc or "N/A") + "\n",
        "init_args": (arguments or "N/A") + "\n",
    }


#: the handlers of this process, the built-in ones among them
registry = Registry()

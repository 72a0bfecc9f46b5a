"""
The registry: the list of handlers that can be attached by name.

This process has one of its own; what it does not have is looked up in the list that all processes share.

Life of a handler, as in the RFC: ``register`` (the name must be new) → attached to any number of groups →
``unregister`` (delisted: new attaches fail with ENOENT, groups that have it keep it) or ``unload`` (refused with EBUSY
while a group has it).
"""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from fanotify_fastpath._modules.listing import Listing, shared_list
from fanotify_fastpath.errors import HandlerBusy, HandlerExists, HandlerNotFound
from fanotify_fastpath.handlers import Handler, check_handler

H = TypeVar("H", bound=type[Handler])


class Registry:
    """
    A list of handlers with unique names. Safe to use from several threads.

    :param shared: the list in which names are looked up that are not in this one
    """

    def __init__(self, shared: Listing | None = None) -> None:
        self._shared = shared
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

    def unload(self, *names: str) -> None:
        """
        Delist handlers, but only if no group has any of them.

        :raises HandlerNotFound: no handler of that name
        :raises HandlerBusy: a group has one attached
        """
        with self._lock:
            for name in names:
                users = self._users.get(self._get(name), 0)
                if users:
                    raise HandlerBusy(
                        f"cannot unload handler {name!r}: {users} group(s) have it attached; detach it first"
                    )
            for name in names:
                del self._handlers[name]

    def get(self, name: str) -> type[Handler]:
        """
        Look a handler up, here and then in the shared list.

        :raises HandlerNotFound: no handler of that name
        :raises NotPermitted: the shared list names code that somebody else than root could change
        :raises SourceRefused: its code does not work
        """
        with self._lock:
            if name in self._handlers or self._shared is None or name not in self._shared:
                return self._get(name)
        return self._shared.find(name)

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

    def borrow(self, handler: type[Handler]) -> Callable[[], None]:
        """
        Count one attach more, for as long as it lives.

        :return: to be called once, when it is over
        :raises HandlerNotFound: it has just left the shared list
        """
        release = self._shared.borrow(handler) if self._shared is not None else lambda: None
        self._count(handler, +1)

        def give_back() -> None:
            self._count(handler, -1)
            release()

        return give_back

    def _count(self, handler: type[Handler], change: int) -> None:
        with self._lock:
            users = self._users.get(handler, 0) + change
            if users:
                self._users[handler] = users
            else:
                self._users.pop(handler, None)


#: the handlers of this process, the built-in ones among them
registry = Registry(shared_list)

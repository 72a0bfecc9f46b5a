"""``watch`` and ``awatch``: the shortest way to the events of a subtree."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from fanotify_fastpath._closing import Closing
from fanotify_fastpath.events import Event
from fanotify_fastpath.group import DEFAULT_MAX_QUEUED, EngineName, Group, Submounts
from fanotify_fastpath.marks import Scope
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import PathOrFd

#: after one of these there may be nothing left to watch
_ENDINGS = int(Mask.ROOT_GONE | Mask.UNMOUNT)


class Watch(Closing, Iterator[Event]):
    """
    The events of one or more subtrees. Iterating ends when :meth:`close` is called, or when nothing is left to watch.

    :ivar group: the group behind it
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self._events = self._until_nothing_left()

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    def _until_nothing_left(self) -> Iterator[Event]:
        while batch := self.group.read():
            for event in batch:
                yield event
                if int(event.mask) & _ENDINGS and not self.group.roots:
                    self.group.close()

    def close(self) -> None:
        """Stop watching."""
        self.group.close()


def watch(
    *paths: PathOrFd,
    events: Mask = Mask.ALL_CHANGES,
    exclude: Iterable[PathOrFd] = (),
    handlers: Sequence[tuple[str, dict[str, Any]]] = (),
    engine: EngineName = "auto",
    submounts: Submounts = "follow",
    include_self: bool = False,
    max_queued: int = DEFAULT_MAX_QUEUED,
    merge: bool = True,
) -> Watch:
    """
    Watch directories and all that is below them, at any depth.

    Events flow from when this returns; no directory is set up or walked. Directories' own events are included.

    :param paths: directories or files, by path or open descriptor
    :param events: event types
    :param exclude: directories or files below *paths* that do not belong
    :param handlers: names of handlers with their arguments, attached in order
    :param engine: ``"auto"`` picks the best that works here
    :param submounts: whether what is mounted inside belongs to it
    :param include_self: report this process's own accesses too
    :param max_queued: events kept for a slow user before they are counted as lost
    :param merge: of equal events one that waits unread is enough (:class:`~fanotify_fastpath.group.Group`)
    :return: an iterator; also a context manager
    :raises PathNotFound: no such path
    :raises NotPermitted: CAP_SYS_ADMIN is missing, and there is no daemon
    :raises UnsupportedFilesystem: a filesystem cannot be watched
    """
    group = Group(engine=engine, submounts=submounts, include_self=include_self, max_queued=max_queued, merge=merge)
    try:
        for name, arguments in handlers:
            group.attach(name, **arguments)
        first, *others = paths or (".",)
        mark = group.mark(first, events | Mask.ONDIR, scope=Scope.SUBTREE, exclude=exclude)
        for path in others:
            group.add_root(path, mark)
    except BaseException:
        group.close()
        raise
    return Watch(group)


async def awatch(*paths: PathOrFd, **options: Any) -> AsyncIterator[Event]:
    """
    Watch as :func:`watch` does, for ``async for``; nothing blocks the loop.

    :param paths: directories or files
    :param options: as for :func:`watch`
    """
    with watch(*paths, **options) as watched:
        async for event in watched.group:
            yield event
            if int(event.mask) & _ENDINGS and not watched.group.roots:
                return

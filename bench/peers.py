"""
The Python peers, each used as its documentation shows.

An entry of :data:`PEERS` imports its package and returns a function that listens until the process ends. That function
calls *ready* as soon as events flow, and *see* with each event and a function that tells what it is: the clock is read
before that is asked, as for a command it is read before the line is looked into.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: whether something was created, whether something was deleted, and the path
Told = tuple[bool, bool, str | bytes | None]
See = Callable[[Any, Callable[[Any], Told]], None]
Note = Callable[[], None]
Peer = Callable[[str, See, Note, Note], None]


def _teller_of_ours() -> Callable[[Any], Told]:
    import fanotify_fastpath as fan

    create, delete = fan.Mask.CREATE, fan.Mask.DELETE

    def tell(event: fan.Event) -> Told:
        mask = event.mask
        return bool(mask & create), bool(mask & delete), event.path

    return tell


def _fanfp(events_name: str = "ALL_CHANGES") -> Peer:
    import fanotify_fastpath as fan

    tell, overflow = _teller_of_ours(), fan.Mask.Q_OVERFLOW

    def listen(root: str, see: See, lost: Note, ready: Note) -> None:
        with fan.watch(root, events=fan.Mask[events_name]) as watched:
            ready()
            for event in watched:
                see(event, tell)
                if event.mask & overflow:
                    lost()

    return listen


def _fanfp_all() -> Peer:
    return _fanfp("ALL_EVENTS")


def _fanfp_async() -> Peer:
    import fanotify_fastpath as fan

    tell, overflow = _teller_of_ours(), fan.Mask.Q_OVERFLOW

    async def follow(root: str, see: See, lost: Note, ready: Note) -> None:
        with fan.watch(root) as watched:
            ready()
            async for event in watched.group:
                see(event, tell)
                if event.mask & overflow:
                    lost()

    def listen(root: str, see: See, lost: Note, ready: Note) -> None:
        asyncio.run(follow(root, see, lost, ready))

    return listen


def _watchdog() -> Peer:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    def tell(event: FileSystemEvent) -> Told:
        return event.event_type == "created", event.event_type == "deleted", event.src_path

    def listen(root: str, see: See, lost: Note, ready: Note) -> None:
        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                see(event, tell)

        observer = Observer()
        observer.schedule(Handler(), root, recursive=True)
        observer.start()
        ready()
        threading.Event().wait()

    return listen


def _watchfiles() -> Peer:
    import watchfiles.main
    from watchfiles import Change, watch

    def tell(event: tuple[Change, str]) -> Told:
        change, path = event
        return change is Change.added, change is Change.deleted, path

    def listen(root: str, see: See, lost: Note, ready: Note) -> None:
        make = getattr(watchfiles.main, "RustNotify")  # noqa: B009  (not exported, for mypy)

        def make_and_tell(*arguments: Any) -> Any:
            notify = make(*arguments)  # returns when all directories are watched
            ready()
            return notify

        setattr(watchfiles.main, "RustNotify", make_and_tell)  # noqa: B010
        for changes in watch(root):
            for event in changes:
                see(event, tell)

    return listen


def _asyncinotify() -> Peer:
    from asyncinotify import Event, Mask, RecursiveInotify

    # the mask of its README
    wanted = Mask.ACCESS | Mask.MODIFY | Mask.OPEN | Mask.CREATE | Mask.DELETE | Mask.ATTRIB | Mask.CLOSE | Mask.MOVE

    def tell(event: Event) -> Told:
        mask = event.mask
        return Mask.CREATE in mask, Mask.DELETE in mask, None if event.path is None else str(event.path)

    async def follow(root: str, see: See, lost: Note, ready: Note) -> None:
        with RecursiveInotify() as inotify:
            inotify.add_recursive_watch(Path(root), wanted)
            ready()
            async for event in inotify:
                see(event, tell)
                if Mask.Q_OVERFLOW in event.mask:
                    lost()

    def listen(root: str, see: See, lost: Note, ready: Note) -> None:
        asyncio.run(follow(root, see, lost, ready))

    return listen


#: how each peer is named in the tables → what imports it
PEERS: dict[str, Callable[[], Peer]] = {
    "fanfp": _fanfp,
    "fanfp-all": _fanfp_all,
    "fanfp-async": _fanfp_async,
    "watchdog": _watchdog,
    "watchfiles": _watchfiles,
    "asyncinotify": _asyncinotify,
}

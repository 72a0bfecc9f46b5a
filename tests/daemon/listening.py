"""A listener on engine ``daemon``; it lives in a process of its own that is an ordinary user (``Puppet``)."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from children import DEADLINE_S
from fanotify_fastpath import Event, Group, Handler, HandlerEvent, Mask, RootSet, Verdict
from fanotify_fastpath.arguments import Argument, BytesList
from fanotify_fastpath.chain import Attachment
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT


class OnlySuffixes(Handler):
    """One of the listener's own: sends what ends in one of these, and remembers what it was shown."""

    name = "only-suffixes"
    arguments = (Argument("suffixes", BytesList(10, 10), "ends of names"),)

    def init(self, *, suffixes: tuple[bytes, ...]) -> None:
        self.suffixes = suffixes
        self.seen: list[tuple[bytes | None, int | None, int | None]] = []

    def handle(self, event: HandlerEvent) -> Verdict:
        self.seen.append((event.name, event.depth, event.size))
        return SEND_TO_USERSPACE if (event.name or b"").endswith(self.suffixes) else SKIP_EVENT


class Listener:
    """
    A group with its marks.

    :param options: of the group
    """

    def __init__(self, **options: Any) -> None:
        self.group = Group(**{"engine": "daemon", **options})
        self._marks: list[Mark] = []
        self._attachments: list[Attachment] = []
        self._sets: list[RootSet] = []
        self._n_fences = 0

    def mark(self, path: Path, events: Mask = Mask.ALL_CHANGES | Mask.ONDIR, **options: Any) -> int:
        self._marks.append(self.group.mark(path, events, **options))
        return len(self._marks) - 1

    def unmark(self, number: int) -> None:
        self.group.unmark(self._marks[number])

    def add_root(self, path: Path, number: int = 0) -> None:
        self.group.add_root(path, self._marks[number])

    def remove_root(self, path: Path, number: int = 0) -> None:
        self.group.remove_root(path, self._marks[number])

    def roots(self) -> list[str]:
        return [os.fsdecode(root.path) for root in self.group.roots]

    def attach(self, handler: str | type[Handler], **arguments: Any) -> int:
        self._attachments.append(self.group.attach(handler, **arguments))
        return len(self._attachments) - 1

    def detach(self, number: int) -> None:
        self.group.detach(self._attachments[number])

    def n_attachments(self) -> int:
        return len(self.group.attachments)

    def add_to_handler(self, number: int, path: Path, *, exclude: bool = False) -> None:
        self._attachments[number].handler.roots.add(path, exclude=exclude)  # type: ignore[attr-defined]

    def remove_from_handler(self, number: int, path: Path) -> None:
        self._attachments[number].handler.roots.remove(path)  # type: ignore[attr-defined]

    def seen(self, number: int) -> Any:
        """What a handler remembers."""
        return self._attachments[number].handler.seen  # type: ignore[attr-defined]

    def read(self, timeout_s: float | None = DEADLINE_S) -> list[Event]:
        return self.group.read(timeout_s=timeout_s)

    def hear(self, fence_in: Path) -> list[Event]:
        """All events up to now: up to a file that is made last, in a directory of which it is told."""
        self._n_fences += 1
        fence = fence_in / f"fence-{os.getpid()}-{self._n_fences}"
        # by another process, for its own are left out
        assert os.system(f"echo > '{fence}'") == 0
        heard = self.until(os.fspath(fence))
        return [event for event in heard if "/fence-" not in (event.path or "")]

    def until(self, path: str | None = None, mask: int = 0) -> list[Event]:
        """All events up to the batch with one on this path, or of this type."""
        heard: list[Event] = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            batch = self.group.read(timeout_s=0.5)
            heard += batch
            if any((path is not None and event.path == path) or event.mask & mask for event in batch):
                return heard + self.group.read(1_000_000, 0)
        raise AssertionError(f"not heard of {path} {mask:#x}, but of {heard[-20:]}")

    def end(self) -> None:
        self.group.close()

    def timed_close(self) -> float:
        """Close; the seconds that it took."""
        begin_s = time.monotonic()
        self.group.close()
        return time.monotonic() - begin_s

    def close_while_reading(self) -> list[Event]:
        """What a read returns that waits while the group is closed."""
        threading.Timer(0.2, self.group.close).start()
        return self.group.read(timeout_s=DEADLINE_S)

    def counters(self) -> dict[str, int]:
        return {name: getattr(self.group.counters, name) for name in self.group.counters.__slots__}

    def call(self, function: Any, *arguments: Any) -> Any:
        """Do something as this user, in this process."""
        return function(self, *arguments)

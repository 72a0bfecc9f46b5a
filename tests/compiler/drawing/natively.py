"""Compiled handlers on this machine, with their state."""

import contextlib
from collections.abc import Iterator

from compiler.native import Native
from fanotify_fastpath.handlers import Handler

from .comparing import Memory


class Runner:
    """A handler that runs here."""

    def __init__(self, native: Native, instance: Handler) -> None:
        self._native = native
        self._instance = instance

    def run(self, event: bytes) -> int:
        """What it says of an event."""
        return self._native.run(self._instance, event)

    def remembered(self) -> Memory:
        """What it keeps."""
        tables = zip(self._native.compiled.state, self._native.tables, strict=True)
        return {name: {key: value.value for key, value in table.items()} for name, table in tables}


@contextlib.contextmanager
def start(kind: type[Handler], instance: Handler) -> Iterator[Runner]:
    """Compile a handler; see ``comparing.Start``."""
    yield Runner(Native(kind), instance)

"""From a handler's class to its program for the kernel."""

from typing import Any

from fanotify_fastpath.handlers import Handler


def code_of(handler: type[Handler]) -> Any:
    """Return the code of a handler; None if it has none."""
    return getattr(handler, "code", None)

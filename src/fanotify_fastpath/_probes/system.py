"""Facts about this process and kernel."""

from importlib.machinery import EXTENSION_SUFFIXES

from fanotify_fastpath._engines.fanotify import raw
from fanotify_fastpath._uapi import capabilities as caps

LIMITS = ("max_queued_events", "max_user_marks", "max_user_groups", "watchdog_timeout")


def is_compiled() -> bool:
    """Tell whether the inner modules of the engine are compiled to C in this installation."""
    return raw.__file__.endswith(tuple(EXTENSION_SUFFIXES))


def capabilities() -> dict[str, bool]:
    """The capabilities that matter, and whether this process has them."""
    effective = caps.effective()
    return {name: bool(effective >> bit & 1) for name, bit in caps.CAPABILITIES.items()}


def limits() -> dict[str, int | None]:
    """fanotify's limits; None for one that this kernel does not have."""
    return {name: _read_int(f"/proc/sys/fs/fanotify/{name}") for name in LIMITS}


def read_text(path: str) -> str | None:
    """Content of a small file of the kernel's; None when it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _read_int(path: str) -> int | None:
    text = read_text(path)
    return int(text) if text and text.isdigit() else None

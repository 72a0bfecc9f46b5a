"""The engines that work here."""

import contextlib
import os

from fanotify_fastpath import FastpathError, Group
from fanotify_fastpath.group import EngineName


def is_promised() -> bool:
    """Whether the kernel engine must work here: then what needs it runs, and fails if it does not."""
    return os.environ.get("FP_KERNEL_TESTS", "") not in ("", "0")


def _engines() -> tuple[EngineName, ...]:
    if os.environ.get("FP_ENGINE") == "daemon":  # the scenarios by an ordinary user: see scenarios/users.py
        return ("daemon",)
    if is_promised():
        return ("fanotify", "kernel")
    with contextlib.suppress(FastpathError), Group(engine="kernel"):
        return ("fanotify", "kernel")
    return ("fanotify",)


#: what every scenario runs on; tests marked ``kernel_engine`` are left to virtual machines where it does not work
ENGINES = _engines()

"""What came of a call, and waiting for what must come."""

import errno
import time
from collections.abc import Callable
from typing import Any

import pytest

#: longest wait for something that must come
DEADLINE_S = 30.0


def errno_of(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """Name of the error number that the call fails with, or ``"ok"``."""
    try:
        function(*arguments, **named)
    except OSError as error:
        # two names for one number, of which Python gives the one that the kernel does not use
        return errno.errorcode[error.errno or 0].replace("ENOTSUP", "EOPNOTSUPP")
    return "ok"


def wait_until(claim: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until *claim* holds; fail at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not claim():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(0.005)

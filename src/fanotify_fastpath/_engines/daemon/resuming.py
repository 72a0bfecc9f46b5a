"""What is done while the daemon is away: try again, at growing intervals, in the housekeeper's thread."""

import contextlib
import os
from collections.abc import Callable
from typing import Final

from fanotify_fastpath._uapi.timer import Timer

_FIRST_NS: Final = 100_000_000
_LONGEST_NS: Final = 2_000_000_000


class Resuming:
    """
    Tries until it succeeds (:class:`~fanotify_fastpath._engines.common.housekeeper.Errand`).

    :param attempt: tells whether no other is needed
    :ivar fd: readable when it is time for the next attempt
    """

    def __init__(self, attempt: Callable[[], bool]) -> None:
        self._attempt = attempt
        self._timer = Timer(_FIRST_NS)
        self._delay_ns = _FIRST_NS
        self.fd = self._timer.fd

    def begin(self) -> None:
        """The daemon has gone."""
        self._delay_ns = _FIRST_NS
        self._start()

    def run(self) -> None:
        """It is time: try."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)
        if not self._attempt():
            self._delay_ns = min(2 * self._delay_ns, _LONGEST_NS)
            self._start()

    def close(self) -> None:
        """Close the descriptor."""
        self._timer.close()

    def _start(self) -> None:
        self._timer.set_delay(self._delay_ns)
        self._timer.start()

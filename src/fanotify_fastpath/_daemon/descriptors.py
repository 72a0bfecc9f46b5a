"""
How many descriptors the daemon may have open, and what of that is promised to whom.

Where there is none left, nobody's events can be looked at. So what clients hold is counted as if each held as many as
it may, and a part is never given to them.
"""

import contextlib
import resource
import threading
from typing import Final

from fanotify_fastpath._engines.fanotify.engine import VIEWED_PROCESSES_MAX
from fanotify_fastpath.errors import LimitReached

#: its socket, the process at the other end, what wakes it
PER_CONNECTION: Final = 4
#: ring and pipe, kernel groups and cookie, what the engine polls and its second thread has, what is open while a
#: directory is looked for; and processes, two for each
PER_GROUP: Final = 32 + 2 * VIEWED_PROCESSES_MAX
#: of this many quarters one is for what is open for moments: descriptors that come with messages, directories
_QUARTERS: Final = 4


class Descriptors:
    """
    The descriptors of this process. Safe to use from several threads.

    :param n_max: what the kernel allows
    """

    def __init__(self, n_max: int) -> None:
        self._n_max = n_max // _QUARTERS * (_QUARTERS - 1)
        self._n_promised = 0
        self._lock = threading.Lock()

    def take(self, n: int) -> None:
        """
        Promise some; less than 0: take a promise back.

        :raises LimitReached: too many are promised already
        """
        with self._lock:
            if n > 0 and self._n_promised + n > self._n_max:
                raise LimitReached(
                    f"the daemon has no descriptors left for more clients: {self._n_promised} of {self._n_max} are "
                    "promised; root can raise its limit (LimitNOFILE= of the service), and start it anew"
                )
            self._n_promised += n


def raise_limit() -> int:
    """Have the kernel allow as many descriptors as it may; returns how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

"""
What the kernel gives this process, and what of that is promised to whom: descriptors, and groups of fanotify.

Where there is no descriptor left, nobody's events can be looked at. So what clients hold is counted as if each held as
many as it may, and a part is never given to them. Groups are counted for each user, and for all processes of root there
are no more than for the others; those processes are to have some, too.
"""

import contextlib
import resource
import threading
from typing import Final

from fanotify_fastpath._engines.fanotify.doers import PIDFDS_MAX
from fanotify_fastpath._engines.fanotify.engine import VIEWED_PROCESSES_MAX
from fanotify_fastpath.errors import LimitReached

#: its socket, the process at the other end, what wakes it
PER_CONNECTION: Final = 4
#: ring and pipe, kernel groups and cookie, what the engine polls and its second thread has, what is open while a
#: directory is looked for; processes, two for each; and one with each record of a read
PER_GROUP: Final = 32 + 2 * VIEWED_PROCESSES_MAX + PIDFDS_MAX
#: one for the marks of subtrees, one for those of single objects
_KERNEL_GROUPS: Final = 2
_GROUPS_PATH: Final = "/proc/sys/fs/fanotify/max_user_groups"
#: of this many quarters one is not promised
_QUARTERS: Final = 4
_PLENTY: Final = 1 << 30


class Descriptors:
    """
    Counts what is promised. Safe to use from several threads.

    :param n_max: descriptors that this process may have
    :param n_kernel_groups: groups of fanotify that this user may have
    """

    def __init__(self, n_max: int, n_kernel_groups: int = _PLENTY) -> None:
        self._n_max = n_max // _QUARTERS * (_QUARTERS - 1)
        self._n_groups_max = n_kernel_groups * (_QUARTERS - 1) // _QUARTERS // _KERNEL_GROUPS
        self._n_promised = self._n_groups = 0
        self._lock = threading.Lock()

    @property
    def n_groups_max(self) -> int:
        """How many groups clients can have together."""
        return min(self._n_groups_max, self._n_max // (PER_CONNECTION + PER_GROUP))

    def take(self, n_connections: int, n_groups: int) -> None:
        """
        Promise what these need; numbers less than 0 take a promise back.

        :raises LimitReached: too much is promised already
        """
        n = n_connections * PER_CONNECTION + n_groups * PER_GROUP
        with self._lock:
            if n > 0 and self._n_promised + n > self._n_max:
                raise LimitReached(
                    f"the daemon has no descriptors left for more clients: {self._n_promised} of {self._n_max} are "
                    "promised; root can raise its limit (LimitNOFILE= of the service), and start it anew"
                )
            if n_groups > 0 and self._n_groups + n_groups > self._n_groups_max:
                raise LimitReached(
                    f"all users together have {self._n_groups} groups, and {_GROUPS_PATH} allows no more; root can "
                    f"raise it ({_KERNEL_GROUPS} for each), and start the daemon anew"
                )
            self._n_promised += n
            self._n_groups += n_groups


def of_this_process() -> Descriptors:
    """Have the kernel allow as many descriptors as it may, and see what there is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n_kernel_groups = _PLENTY
    with contextlib.suppress(OSError, ValueError), open(_GROUPS_PATH) as file:
        n_kernel_groups = int(file.read())
    return Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[0], n_kernel_groups)

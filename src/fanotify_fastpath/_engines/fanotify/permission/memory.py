"""
What the kernel is told not to ask again: ignore marks, on single objects or on whole directories.

An ignore mark on a directory covers all its files, those to come too, by one question. But it makes the kernel look
at the parent for every event on every file there: open+read+close takes 1.3 to 1.5 times as long (Linux 6.18). An
ignore mark on the file itself costs 1.1, and one question for each file. So objects are remembered one by one as long
as the budget lasts, and where so much is new that it runs out (a search through a large tree, a directory full of
short-lived files) directories are.
"""

import time

from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup

#: objects that may be remembered one by one in a burst, and per second in the long run
_BURST, _PER_S = 4096.0, 256.0
#: more marks than this are taken off at once: to take off very many takes long, and nobody is answered meanwhile
_MAX_MARKS = 1 << 17


class Memory:
    """Decides how much is remembered at a time, and how."""

    def __init__(self) -> None:
        self._budget = _BURST
        self._counted_s = 0.0
        self._n_marks = 0

    def prefers_object(self) -> bool:
        """Tell whether one more object may be remembered by itself, and count it."""
        now = time.monotonic()
        self._budget = min(_BURST, self._budget + (now - self._counted_s) * _PER_S)
        self._counted_s = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def make_room(self, group: AskingGroup) -> None:
        """One more mark is to come."""
        self._n_marks += 1
        if self._n_marks > _MAX_MARKS:
            group.forget()
            self._n_marks = 1

"""What an engine must do. Groups speak to engines through this and nothing else."""

from dataclasses import dataclass
from typing import Protocol

from fanotify_fastpath.chain import Chain
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root


@dataclass(slots=True)
class Counters:
    """
    What became of the events of one group.

    :ivar n_delivered: put into the stream
    :ivar n_skipped: read from the kernel and dropped in user space (outside, own, or skipped by a handler)
    :ivar n_lost: not in the stream though they should be; each is covered by an overflow event. Of an overflow whose
        number the kernel does not tell, one is counted
    :ivar n_overflows: overflow events
    :ivar n_remembered: directories whose events the kernel was told to drop. It does not count what it drops there
    :ivar n_rescans: rescan events
    :ivar n_denied: attempts that programs in the kernel denied; none of them is an event
    :ivar n_undecided: attempts of which those programs could not tell whether they were inside, denied or not
    """

    n_delivered: int = 0
    n_skipped: int = 0
    n_lost: int = 0
    n_overflows: int = 0
    n_remembered: int = 0
    n_rescans: int = 0
    n_denied: int = 0
    n_undecided: int = 0


@dataclass(frozen=True, slots=True)
class KernelCounters:
    """
    What the programs of the kernel engine have counted.

    Of this group:

    :ivar n_sent: records put into the group's ring buffer
    :ivar n_skipped: events that the handlers applied in the kernel kept back
    :ivar n_undecided: of those sent, the undecided ones
    :ivar n_merged: events left out because an equal one was waiting unread
    :ivar n_dropped: records that found no room in the ring buffer

    Of all groups of this process together, since the first of those that are open now:

    :ivar n_seen: calls of ``fsnotify()`` that somebody might want, by filesystem and event type
    :ivar n_cached: directories whose answer was remembered
    :ivar n_walked: directories from which the tree was climbed
    :ivar n_missed: calls for which the program was not run
    """

    n_sent: int
    n_skipped: int
    n_undecided: int
    n_merged: int
    n_dropped: int
    n_seen: int
    n_cached: int
    n_walked: int
    n_missed: int


class MarkingEngine(Protocol):
    """What takes marks and handlers, whether it delivers events or answers them."""

    def add_mark(self, mark: Mark) -> None:
        """Begin to deliver (or answer) events for *mark*, from when this returns; on an error nothing has changed."""
        ...

    def remove_mark(self, mark: Mark) -> None:
        """Stop delivering events for *mark*."""
        ...

    def add_root(self, mark: Mark, root: Root) -> None:
        """Add one more root to a mark of scope subtree, from when this returns."""
        ...

    def use_chain(self, chain: Chain) -> None:
        """Send every event through *chain*."""
        ...

    def catch_up(self) -> None:
        """Something is about to change: decide about what has happened so far as things are now."""
        ...

    def refresh(self) -> None:
        """Handlers or root sets have changed: nothing decided before holds."""
        ...

    def close(self) -> None:
        """Undo everything; a read that waits in another thread ends with an empty list."""
        ...


class Forbidder(MarkingEngine, Protocol):
    """What denies in the kernel, without asking anybody; it takes marks that deny."""

    def try_all(self) -> str:
        """
        Attach all hooks for a moment, and tell what they are.

        :raises UnsupportedFeature: one that is needed cannot be attached
        """
        ...

    @property
    def n_denied_undecided(self) -> tuple[int, int]:
        """How many attempts were denied, and of how many it could not be told whether they were inside."""
        ...


class Engine(MarkingEngine, Protocol):
    """The machinery behind one group."""

    name: str
    counters: Counters

    def kernel_counters(self) -> KernelCounters | None:
        """What was counted in the kernel; None where nothing is."""
        ...

    def inject(self, event: Event) -> None:
        """Put an event that was made elsewhere into the stream."""
        ...

    def read(self, max_events: int, timeout_s: float | None) -> list[Event]:
        """Wait for events, at most *timeout_s* (None: for ever), and return up to *max_events*, oldest first."""
        ...

    def hold(self) -> None:
        """Somebody polls :meth:`fileno` from now on: it stays open, also past :meth:`close`, until :meth:`release`."""
        ...

    def release(self) -> None:
        """The opposite of :meth:`hold`."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable when :meth:`read` would not wait."""
        ...

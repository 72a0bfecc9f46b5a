"""From the records of a batch to events; in C. The parts of a batch are those that ``_ring.Ring.take`` gives."""

from collections.abc import Callable
from typing import Generic, TypeVar, final

E = TypeVar("E")

@final
class EventMaker(Generic[E]):
    """Makes events by filling the slots of a class, without a call of its ``__init__``."""

    def __new__(
        cls,
        event_type: type[E],
        engine: str,
        masks: dict[int, object],
        places: dict[bytes, bytes | tuple[bytes, dict[bytes, bytes] | dict[bytes, None]] | None],
        processes: dict[bytes, object],
        devices: dict[int, int | None],
        crossings: dict[bytes, object],
        special: Callable[[int, int], E | None],
        undecided_flags: int,
        with_tid: bool,
        /,
    ) -> EventMaker[E]:
        """
        Look at the class.

        Of the five dictionaries, ``__missing__`` is asked for what they have not.

        :param event_type: has the ``__slots__`` of :class:`fanotify_fastpath.events.Event`, and no others
        :param engine: of each event
        :param masks: the mask for the kernel's event types, without flags
        :param places: the user's path of a directory, without a slash at its end, for the key of dev and mount_id as in
            ``struct fp_event`` (``"=II"``) and the path in the filesystem; None: the user cannot see it; with a
            dictionary: of names in it whose path is another than the directory's and the name, or None
        :param processes: the process for the key of tgid, uid (``"=II"``) and comm (16 bytes)
        :param devices: the event's device number for the kernel's
        :param crossings: of a rename, for the key of dev, inside and old_inside as in ``struct fp_event``
        :param special: what to make of record i, with n_lost records lost before it; n_lost is 0 when it is asked
            because the record is no ``FP_EVENT``. None: nothing
        :param undecided_flags: of ``enum fp_flag``, that make an event undecided
        :param with_tid: whether events tell the thread
        :raises TypeError: the class has other slots, or an argument is of another type
        """

    def make(self, fixed: bytes, paths: bytes, starts: bytes, n_dropped: int, /) -> list[E]:
        """
        Make the events of a batch, in its order.

        :param n_dropped: how many were lost before the batch
        :raises ValueError: the parts do not belong together
        :raises Exception: what the dictionaries or *special* raise
        """

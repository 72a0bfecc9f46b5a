"""From batches of records to events, with all that many events have in common looked up once."""

import struct
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from fanotify_fastpath._bpf._abi import LAYOUTS, FpFlag
from fanotify_fastpath._bpf.ring import Batch, Record

_DEV: Final = struct.Struct("=I")
_TWO: Final = struct.Struct("=II")
_SLOTS_BYTES: Final = LAYOUTS.structs["fp_slots"].size
_MAX_ENTRIES: Final = 65536

#: what the path of a directory's files begins with for the user; None: it has none; with a dictionary: of names whose
#: path is another one, or which have none
Place = bytes | tuple[bytes, dict[bytes, bytes] | dict[bytes, None]] | None

E = TypeVar("E")
K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """A dictionary that finds what it has not, and forgets everything when it is full."""

    def __init__(self, find: Callable[[K], V], max_entries: int = _MAX_ENTRIES) -> None:
        """
        :param find: makes the value for a key
        :param max_entries: entries that are kept
        """
        self._find = find
        self._max_entries = max_entries

    def __missing__(self, key: K) -> V:
        value = self._find(key)
        if len(self) >= self._max_entries:
            self.clear()
        self[key] = value
        return value


class Decoder(Generic[E]):
    """
    Makes events of the records of one group.

    The functions are asked once, and again after the ``forget`` that concerns them, or when so much was remembered
    since that it was forgotten.

    :ivar places: the user's path by :func:`place_key`; may be filled beforehand
    """

    def __init__(
        self,
        event_type: type[E],
        engine: str,
        *,
        find_mask: Callable[[int], object],
        find_place: Callable[[int, int, bytes], Place],
        find_process: Callable[[int, int, bytes], object],
        find_dev: Callable[[int], int | None],
        find_crossing: Callable[[int, bytes, bytes], object],
        make_special: Callable[[Record, int], E | None],
        undecided_flags: int = FpFlag.UNDECIDED,
        with_tid: bool = False,
    ) -> None:
        """
        :param event_type: :class:`fanotify_fastpath.events.Event`, or a class with the same ``__slots__``
        :param engine: what events give as their engine
        :param find_mask: the event's mask for the kernel's event types, without flags
        :param find_place: the user's path of a directory, without a slash at its end (the root directory: empty), for
            the kernel's device number, the mount (0: unknown) and the path in the filesystem; see :data:`Place`
        :param find_process: the event's process for tgid, uid and comm
        :param find_dev: the event's device number for the kernel's
        :param find_crossing: of a rename, for the kernel's device number and, as ``struct fp_slots``, what the object
            lay in and what it lies in now
        :param make_special: an event for a record, when some were lost before it (their number; the record itself comes
            next), or when it is no event of a file (0); None: none
        :param undecided_flags: of :class:`FpFlag`, that make an event undecided
        :param with_tid: whether events tell the thread
        :raises TypeError: the class has other slots
        :raises ImportError: the package was installed without a C compiler
        """
        from fanotify_fastpath._bpf._events import EventMaker

        def find_by_place_key(key: bytes) -> Place:
            dev, mount_id = _TWO.unpack_from(key)
            return find_place(dev, mount_id, key[_TWO.size :])

        def find_by_process_key(key: bytes) -> object:
            tgid, uid = _TWO.unpack_from(key)
            return find_process(tgid, uid, key[_TWO.size :].rstrip(b"\0"))

        def find_by_crossing_key(key: bytes) -> object:
            (dev,) = _DEV.unpack_from(key)
            middle = _DEV.size + _SLOTS_BYTES
            return find_crossing(dev, key[middle:], key[_DEV.size : middle])

        self.places: dict[bytes, Place] = Remembered(find_by_place_key)
        self._devices = Remembered(find_dev)
        self._crossings = Remembered(find_by_crossing_key)
        self._processes: dict[bytes, object] = Remembered(find_by_process_key)
        self._batch: Batch | None = None
        self._make_special = make_special
        self._maker: EventMaker[E] = EventMaker(
            event_type,
            engine,
            Remembered(find_mask),
            self.places,
            self._processes,
            self._devices,
            self._crossings,
            self._special,
            undecided_flags,
            with_tid,
        )

    def decode(self, batch: Batch) -> list[E]:
        """
        Make the events of a batch, oldest first. One thread at a time.

        :raises Exception: what the functions given raise; the batch can be decoded again
        """
        self._batch = batch
        return self._maker.make(batch.fixed, batch.paths_block, batch.starts, batch.n_dropped_before)

    def forget_places(self) -> None:
        """Ask anew where directories and devices are; for when something is mounted, unmounted or moved."""
        self.places.clear()
        self._devices.clear()

    def forget_borders(self) -> None:
        """Ask anew what crosses a border; for when root sets come and go."""
        self._crossings.clear()

    def forget_processes(self) -> None:
        """Ask anew who processes are; numbers of processes are used again."""
        self._processes.clear()

    def _special(self, n: int, n_lost: int) -> E | None:
        assert self._batch is not None
        return self._make_special(self._batch[n], n_lost)


def place_key(dev: int, mount_id: int, directory: bytes) -> bytes:
    """
    The key of a directory in ``Decoder.places``.

    :param dev: the kernel's device number, as in ``struct fp_event``
    :param mount_id: likewise
    :param directory: its path in the filesystem; of the root directory empty
    """
    return _TWO.pack(dev, mount_id) + directory

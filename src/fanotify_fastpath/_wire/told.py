"""
Records about the stream (``FP_TOLD``): what the fields of ``struct fp_event`` mean in them; and paths in all records.

Event types about the stream have more bits than ``mask`` has: its upper half is in ``generation``. The number lost is
in ``inode``. A root that is no longer in the listener's set is named by the listener's own number of it, in
``cgroup_id``: with ``ROOT_GONE`` or ``UNMOUNT``, or before these, in records whose mask is 0, which are no events.
"""

from typing import Any, Final, NamedTuple

from fanotify_fastpath._bpf._abi import FpEvent, FpKind
from fanotify_fastpath.mask import Mask

#: instead of a number lost that nobody knows
LOST_UNKNOWN: Final = (1 << 64) - 1
_HALF: Final = 32


class Told(NamedTuple):
    """
    What a record says about the stream.

    :ivar mask: ``Q_OVERFLOW``, ``RESCAN``, ``ROOT_GONE``, ``UNMOUNT`` or ``UNWATCHED``; 0: no event
    :ivar n_lost: besides those of which ``n_dropped`` of this and earlier records tells; None: unknown
    :ivar root: the listener's number of a root that is gone; 0: none
    """

    mask: Mask
    n_lost: int | None = 0
    root: int = 0


def fields_of(told: Told) -> dict[str, Any]:
    """Return the fields of ``struct fp_event`` that say so."""
    return {
        "kind": FpKind.TOLD,
        "mask": int(told.mask) & (1 << _HALF) - 1,
        "generation": int(told.mask) >> _HALF,
        "inode": LOST_UNKNOWN if told.n_lost is None else told.n_lost,
        "cgroup_id": told.root,
    }


def told_by(fields: FpEvent) -> Told:
    """Return what a record of kind ``FP_TOLD`` says."""
    n_lost = None if fields.inode == LOST_UNKNOWN else fields.inode
    return Told(Mask(fields.mask | fields.generation << _HALF), n_lost, fields.cgroup_id)


def as_in_record(path: bytes | None) -> bytes:
    """
    Return how an absolute path stands in a record of the daemon.

    :param path: None: there is none. It stands as nothing, which is why the root directory has two slashes
    """
    return b"//" if path == b"/" else path or b""

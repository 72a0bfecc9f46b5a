"""From the records of a batch to columns; in C. The parts of a batch are those that ``_ring.Ring.take`` gives."""

def gather(fixed: bytes, offset: int, size: int, /) -> bytes:
    """
    The same bytes of every ``struct fp_event``, in a row.

    :param fixed: the structures
    :param offset: in the structure, in bytes
    :param size: in bytes
    :raises ValueError: the structure has no such bytes
    """

def split(fixed: bytes, paths: bytes, starts: bytes, is_old: bool, /) -> list[bytes]:
    """
    The path of every record; with *is_old* the old path.

    :raises ValueError: the parts do not belong together
    """

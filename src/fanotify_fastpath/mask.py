"""
Event masks: what happened, in the kernel's own bits, and their names.

The bits are those of ``<linux/fanotify.h>``. A few bits above 2**32, which the kernel does not use, stand for what
this package itself has to say in the stream: :attr:`Mask.RESCAN`, :attr:`Mask.ROOT_GONE`, :attr:`Mask.UNMOUNT` and
:attr:`Mask.UNWATCHED`; and others for operations that only the kernel engine can deny: :attr:`Mask.ALL_CHANGES_PERM`.
"""

from enum import IntFlag

from fanotify_fastpath.errors import InvalidArgument


class Mask(IntFlag):
    """
    Event types and event flags, combined with ``|``.

    :source: include/uapi/linux/fanotify.h (Linux 6.18)
    """

    ACCESS = 0x00000001
    MODIFY = 0x00000002
    ATTRIB = 0x00000004
    CLOSE_WRITE = 0x00000008
    CLOSE_NOWRITE = 0x00000010
    OPEN = 0x00000020
    MOVED_FROM = 0x00000040
    MOVED_TO = 0x00000080
    CREATE = 0x00000100
    DELETE = 0x00000200
    DELETE_SELF = 0x00000400
    MOVE_SELF = 0x00000800
    OPEN_EXEC = 0x00001000
    Q_OVERFLOW = 0x00004000
    FS_ERROR = 0x00008000
    OPEN_PERM = 0x00010000
    ACCESS_PERM = 0x00020000
    OPEN_EXEC_PERM = 0x00040000
    PRE_ACCESS = 0x00100000
    MNT_ATTACH = 0x01000000
    MNT_DETACH = 0x02000000
    EVENT_ON_CHILD = 0x08000000
    RENAME = 0x10000000
    ONDIR = 0x40000000

    #: what lies below ``path`` may have changed unseen: read it anew
    RESCAN = 1 << 40
    #: a root of the group was deleted; nothing more will come from it
    ROOT_GONE = 1 << 41
    #: a watched filesystem was unmounted
    UNMOUNT = 1 << 42
    #: something mounted inside the subtree cannot be watched; the group is blind there
    UNWATCHED = 1 << 43

    #: make a file, a device, a fifo or a socket, or a file without a name
    CREATE_PERM = 1 << 52
    MKDIR_PERM = 1 << 53
    UNLINK_PERM = 1 << 54
    RMDIR_PERM = 1 << 55
    #: rename what lies inside, or to a name that does
    RENAME_PERM = 1 << 56
    #: make a hard link, to what lies inside or to a name that does
    LINK_PERM = 1 << 57
    SYMLINK_PERM = 1 << 58
    #: change mode, owner, times, flags, access control lists or extended attributes
    SETATTR_PERM = 1 << 59
    #: change the length, also with ``O_TRUNC``
    TRUNCATE_PERM = 1 << 60

    CLOSE = CLOSE_WRITE | CLOSE_NOWRITE
    MOVE = MOVED_FROM | MOVED_TO
    ALL_CHANGES = MODIFY | ATTRIB | CLOSE_WRITE | CREATE | DELETE | RENAME
    ALL_EVENTS = ALL_CHANGES | ACCESS | OPEN | OPEN_EXEC | CLOSE_NOWRITE
    ALL_PERM = OPEN_PERM | ACCESS_PERM | OPEN_EXEC_PERM | PRE_ACCESS
    #: fanotify has no permission events for these: :func:`fanotify_fastpath.guard` denies them on the kernel engine
    ALL_CHANGES_PERM = (
        CREATE_PERM
        | MKDIR_PERM
        | UNLINK_PERM
        | RMDIR_PERM
        | RENAME_PERM
        | LINK_PERM
        | SYMLINK_PERM
        | SETATTR_PERM
        | TRUNCATE_PERM
    )


#: bits that qualify an event instead of naming one
EVENT_FLAGS = Mask.ONDIR | Mask.EVENT_ON_CHILD
#: bits that the stream itself adds; nobody asks for them, and no filter or handler can hide them
STREAM_EVENTS = Mask.Q_OVERFLOW | Mask.RESCAN | Mask.ROOT_GONE | Mask.UNMOUNT | Mask.UNWATCHED
_NOT_ASKED_FOR = STREAM_EVENTS | Mask.ALL_CHANGES_PERM

_GROUPS = ("CLOSE", "MOVE", "ALL_CHANGES", "ALL_EVENTS", "ALL_PERM", "ALL_CHANGES_PERM")
_BITS: dict[int, str] = {
    member.value: name.lower()
    for name, member in Mask.__members__.items()
    if name not in _GROUPS and not member & EVENT_FLAGS
}
_WORDS: dict[str, Mask] = {
    **{name.lower(): member for name, member in Mask.__members__.items() if not member & _NOT_ASKED_FOR},
    "all": Mask.ALL_EVENTS,
    "changes": Mask.ALL_CHANGES,
}
_names_cache: dict[int, tuple[str, ...]] = {}


def mask_names(mask: int) -> tuple[str, ...]:
    """
    Name the event types in *mask*, lowest bit first.

    :param mask: any combination of bits; flags (``ONDIR``, ``EVENT_ON_CHILD``) have no name here
    :return: lower-case names without the ``FAN_`` prefix, ``("create", "close_write")`` for example; a bit that is
        unknown is given as its hexadecimal value
    """
    names = _names_cache.get(mask)
    if names is None:
        rest = int(mask) & ~int(EVENT_FLAGS)
        bits = [1 << n for n in range(rest.bit_length()) if rest >> n & 1]
        names = _names_cache[int(mask)] = tuple(_BITS.get(bit, hex(bit)) for bit in bits)
    return names


def parse_mask(text: str) -> Mask:
    """
    Turn a list of names into a mask.

    :param text: names separated by commas, upper or lower case, with or without ``FAN_`` or ``IN_``:
        ``"create,close_write"``; ``close``, ``move``, ``changes`` and ``all`` stand for several
    :return: the mask
    :raises InvalidArgument: a name is unknown or the list is empty
    """
    mask = Mask(0)
    for word in text.replace("|", ",").split(","):
        name = word.strip().lower().removeprefix("fan_").removeprefix("in_")
        if name not in _WORDS:
            known = ", ".join(sorted(_WORDS))
            raise InvalidArgument(f"unknown event type {word.strip()!r}; known are {known}")
        mask |= _WORDS[name]
    return mask

"""Where the attributes lie among the constants."""

from fanotify_fastpath._compiler.globs import TABLE_WORDS
from fanotify_fastpath._compiler.model import (
    WORD_BYTES,
    Attribute,
    AttributeKind,
    ConstantKind,
    IntsKind,
    SetKind,
    TextKind,
    TextsKind,
    round_up,
)

#: the places of a set in which a number is looked for
N_PROBES = 8
#: of an item of a list of bytes, before the bytes: their number, the mask of the first word
ITEM_HEAD = 2 * WORD_BYTES


def stride(kind: TextsKind) -> int:
    """From one item to the next, in bytes."""
    return ITEM_HEAD + round_up(kind.max_bytes)


def n_slots(kind: SetKind) -> int:
    """Slots of a set: a power of two, at most half of them full."""
    return 1 << max(1, (2 * kind.max_items - 1).bit_length())


def size_of(kind: AttributeKind) -> int:
    """In bytes."""
    match kind:
        case TextKind(max_bytes):
            return WORD_BYTES + round_up(max_bytes)
        case TextsKind(max_items):
            return WORD_BYTES + max_items * stride(kind)
        case IntsKind(max_items):
            return WORD_BYTES * (1 + max_items)
        case SetKind():
            return WORD_BYTES * (2 + n_slots(kind) + N_PROBES)
        case ConstantKind(value):
            return round_up(max(1, len(value)))
        case _:
            return WORD_BYTES


def tables_size(kind: AttributeKind) -> int:
    """Of the tables of patterns, in bytes."""
    return WORD_BYTES * TABLE_WORDS * (kind.max_items if isinstance(kind, TextsKind) else 1)


class Constants:
    """
    The constants of one handler, in order of first use.

    :ivar size: of all, in bytes
    """

    def __init__(self) -> None:
        self._placed: dict[tuple[str, AttributeKind, bool], Attribute] = {}
        self.size = 0

    def place(self, name: str, kind: AttributeKind, *, tables: bool = False) -> int:
        """Offset of an attribute; with *tables* that of the tables of its globs."""
        key = (name, kind, tables)
        if key not in self._placed:
            size = tables_size(kind) if tables else size_of(kind)
            self._placed[key] = Attribute(name, kind, self.size, size, tables)
            self.size += size
        return self._placed[key].offset

    def place_bytes(self, value: bytes) -> int:
        """Offset of bytes of the program."""
        return self.place("", ConstantKind(value))

    def place_glob(self, pattern: bytes) -> int:
        """Offset of the tables of a pattern of the program."""
        return self.place("", ConstantKind(pattern), tables=True)

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """What was placed."""
        return tuple(self._placed.values())

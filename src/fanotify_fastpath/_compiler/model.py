"""What the compiler is told about events, attributes, state and names; nothing here belongs to an engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fanotify_fastpath._compiler.ranges import Range

WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class EventInt:
    """
    An integer of the event.

    :ivar offset: in bytes
    :ivar size: in bytes
    :ivar bit: what tells that it is known; 0: it always is
    """

    offset: int
    size: int
    bit: int = 0


@dataclass(frozen=True, slots=True)
class EventFlag:
    """
    A truth of the event: whether one of these bits is set.

    :ivar offset: of 4 bytes
    :ivar bits: to be tested
    """

    offset: int
    bits: int


@dataclass(frozen=True, slots=True)
class EventText:
    """
    Bytes of the event.

    :ivar offset: in bytes
    :ivar length_offset: of their number, 4 bytes
    :ivar max_bytes: most of them
    :ivar bit: what tells that they are known
    """

    offset: int
    length_offset: int
    max_bytes: int
    bit: int


@dataclass(frozen=True, slots=True)
class EventInts:
    """
    Integers of 4 bytes, none when unknown.

    :ivar offset: in bytes
    :ivar count_offset: of their number, 4 bytes
    :ivar max_items: most of them
    :ivar bit: who reads them must ask for it
    """

    offset: int
    count_offset: int
    max_items: int
    bit: int


EventField = EventInt | EventFlag | EventText | EventInts


@dataclass(frozen=True, slots=True)
class EventLayout:
    """
    The event in memory.

    :ivar size: in bytes
    :ivar fields: by the name of the attribute
    :ivar known: offset of the bits that tell what is known
    :ivar inside: offset of the bits of slots
    :ivar place_bit: what tells that these are known
    :ivar unknown: offset of a word of which the verifier knows nothing
    """

    size: int
    fields: Mapping[str, EventField]
    known: int
    inside: int
    place_bit: int
    unknown: int


@dataclass(frozen=True, slots=True)
class BoolKind:
    """An attribute that is a truth."""


@dataclass(frozen=True, slots=True)
class IntKind:
    """An attribute that is an integer of a range."""

    range: Range


@dataclass(frozen=True, slots=True)
class WordKind:
    """An attribute that is one of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextKind:
    """An attribute of at most so many bytes."""

    max_bytes: int


@dataclass(frozen=True, slots=True)
class TextsKind:
    """A sequence of so many byte strings."""

    max_items: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class IntsKind:
    """A sequence of so many integers."""

    max_items: int
    range: Range


@dataclass(frozen=True, slots=True)
class SetKind:
    """A set of so many integers."""

    max_items: int
    range: Range


@dataclass(frozen=True, slots=True)
class RootsKind:
    """A set of roots, known to the kernel by its slot."""


@dataclass(frozen=True, slots=True)
class ConstantKind:
    """Bytes of the program itself."""

    value: bytes


AttributeKind = BoolKind | IntKind | WordKind | TextKind | TextsKind | IntsKind | SetKind | RootsKind | ConstantKind


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    An attribute with its place among the constants.

    :ivar name: of the attribute; of a constant empty
    :ivar kind: what it is
    :ivar offset: in bytes
    :ivar size: in bytes
    :ivar has_tables: the tables of its globs stand behind it
    """

    name: str
    kind: AttributeKind
    offset: int
    size: int
    has_tables: bool = False


@dataclass(frozen=True, slots=True)
class CounterKind:
    """State that is one number."""


@dataclass(frozen=True, slots=True)
class TableKind:
    """
    State that is a table.

    :ivar max_entries: most entries
    :ivar key_words: integers of a key; 0 if it is bytes
    :ivar key_bytes: most bytes of a key; 0 if it is integers
    :ivar evicts: what was not used for long makes room
    """

    max_entries: int
    key_words: int
    key_bytes: int
    evicts: bool

    @property
    def key_size(self) -> int:
        """Of a key, in bytes: words, or the length and the bytes."""
        return WORD_BYTES * self.key_words or WORD_BYTES + round_up(self.key_bytes)


StateKind = CounterKind | TableKind


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """
    What names stand for whose meaning is not Python's own.

    :ivar number_of: the number of a verdict; None if an object is none
    :ivar deny: the function that makes a verdict of an error number
    :ivar deny_errnos: what it accepts
    :ivar default_errno: what it takes without one
    :ivar casts: functions that wrap an integer into a range
    :ivar attributes: of the instance, by name
    :ivar state: of the attach, by name
    :ivar verdict_names: what ``handle`` returns, for messages
    """

    number_of: Callable[[object], int | None]
    deny: object
    deny_errnos: frozenset[int]
    default_errno: int
    casts: tuple[tuple[object, Range], ...]
    attributes: Mapping[str, AttributeKind] = field(default_factory=dict)
    state: Mapping[str, StateKind] = field(default_factory=dict)
    verdict_names: str = "SEND_TO_USERSPACE, SKIP_EVENT or deny()"


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    What the compiler made of a function.

    :ivar ir: LLVM's intermediate code
    :ivar needs: bits of the fields that the event must have
    :ivar attributes: the constants, in order
    :ivar attributes_size: of all of them, in bytes
    :ivar state: names of what is used, in the order of the maps
    :ivar of_class: attributes of the class whose values were compiled
    """

    ir: str
    needs: int
    attributes: tuple[Attribute, ...]
    attributes_size: int
    state: tuple[str, ...]
    of_class: frozenset[str] = frozenset()


def round_up(size: int) -> int:
    """*size* in whole words."""
    return -(-size // WORD_BYTES) * WORD_BYTES

"""What an expression may name at one point of a program that is drawn."""

from dataclasses import dataclass, field, replace

from fanotify_fastpath._compiler.ranges import Range

#: fields of the event that are integers, with their bits
FIELDS = {
    "dev": 64,
    "inode": 64,
    "dir_inode": 64,
    "size": 64,
    "mode": 32,
    "owner_uid": 32,
    "owner_gid": 32,
    "n_links": 32,
    "uid": 32,
    "gid": 32,
    "cgroup_id": 64,
    "depth": 32,
}
ALWAYS = {"mask": 32, "time_ns": 64, "tgid": 32}
#: fields that are bytes, with the most of them
TEXTS = {"name": 255, "comm": 15, "exe": 255}
OPTIONAL = (*FIELDS, *TEXTS)
N_ANCESTORS = 16


@dataclass(frozen=True)
class Number:
    """
    An integer's expression.

    :ivar range: it is within; the compiler may know more exactly
    """

    text: str
    range: Range


@dataclass(frozen=True)
class Words:
    """
    An expression that is bytes.

    :ivar most: of them
    :ivar is_of_event: they are the event's, or a part of them
    """

    text: str
    most: int
    is_of_event: bool = False


@dataclass
class Env:
    """
    What is there.

    :ivar numbers: local integers, with what they are within
    :ivar variables: local integers that may be assigned, by the name of the cast that they need
    :ivar counts: local integers that may be incremented
    :ivar texts: local names of bytes
    :ivar truths: local names of truths
    :ivar known: optional fields of which it is known that they are not None
    :ivar returns: what the function returns: ``verdict``, ``number``, ``truth``, or ``maybe``: a number or None
    :ivar depth: of the expression
    :ivar n_blocks: around this place
    :ivar n_loops: around this place
    :ivar is_cheap: it runs often, so that nothing long may stand here
    """

    numbers: dict[str, Range] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    texts: dict[str, Words] = field(default_factory=dict)
    truths: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset()
    returns: str = "verdict"
    depth: int = 0
    n_blocks: int = 0
    n_loops: int = 0
    is_cheap: bool = False

    def deeper(self) -> "Env":
        """The same place, for what stands inside of an expression."""
        return replace(self, depth=self.depth + 1)

    def block(self, *known: str, is_loop: bool = False, is_cheap: bool = False) -> "Env":
        """A block in which more is known; what it defines stays in it."""
        return replace(
            self,
            numbers=dict(self.numbers),
            variables=dict(self.variables),
            counts=list(self.counts),
            texts=dict(self.texts),
            truths=list(self.truths),
            known=self.known | set(known),
            depth=0,
            n_blocks=self.n_blocks + 1,
            n_loops=self.n_loops + is_loop,
            is_cheap=self.is_cheap or is_cheap,
        )

    def knowing(self, *known: str) -> "Env":
        """The same place where more fields are not None."""
        return replace(self, known=self.known | set(known))

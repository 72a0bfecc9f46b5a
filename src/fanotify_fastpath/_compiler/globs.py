"""
Shell patterns as tables: which places of the pattern each byte may stand at.

A text is matched by moving all places at once (Shift-And): the lowest bit of the state is the beginning, bit n means
that n tokens were matched. For each byte ``state = (state & table[byte]) << 1 | state & stars``, and a text fits if
``state & accept`` at its end.
"""

import struct
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fanotify_fastpath.errors import InvalidArgument

#: of a table: stars, accept, one word for each byte
TABLE_WORDS = 2 + 256
MAX_TOKENS = 63


@dataclass(frozen=True, slots=True)
class Glob:
    """
    A pattern.

    :ivar stars: places at which any byte leaves the state as it is
    :ivar accept: places that are the end
    :ivar table: places from which a byte leads on
    """

    stars: int
    accept: int
    table: tuple[int, ...]

    def matches(self, text: bytes) -> bool:
        """What compiled code does."""
        state = 1
        for byte in text:
            state = (state & self.table[byte]) << 1 | state & self.stars
        return bool(state & self.accept)

    def pack(self) -> bytes:
        """As it lies among the constants."""
        return struct.pack(f"<{TABLE_WORDS}Q", self.stars, self.accept, *self.table)


def tabulate(pattern: bytes) -> Glob:
    """
    Make the tables of a pattern.

    :raises InvalidArgument: it has more than 63 tokens besides stars
    """
    stars = 0
    tokens: list[bytes] = []
    for token in _tokens(pattern):
        if token == b"*":
            stars |= 1 << len(tokens)
        else:
            tokens.append(token)
    if len(tokens) > MAX_TOKENS:
        raise InvalidArgument(f"glob {pattern!r} has {len(tokens)} characters to match; compiled are {MAX_TOKENS}")
    sets = [_bytes_of(token) for token in tokens]
    table = tuple(sum(1 << n for n, found in enumerate(sets) if byte in found) for byte in range(256))
    return Glob(stars, 1 << len(tokens), table)


def _tokens(pattern: bytes) -> list[bytes]:
    """The parts of a pattern that stand for one byte each, and its stars."""
    found, at = [], 0
    while at < len(pattern):
        end = at + 1
        if pattern[at] == ord("["):
            end = _class_end(pattern, at)
        found.append(pattern[at:end])
        at = end
    return found


def _class_end(pattern: bytes, at: int) -> int:
    """The end of a class in brackets; a bracket that is never closed stands for itself."""
    begin = at + 1
    begin += pattern[begin : begin + 1] == b"!"
    begin += pattern[begin : begin + 1] == b"]"
    end = pattern.find(b"]", begin)
    return at + 1 if end < 0 else end + 1


def _bytes_of(token: bytes) -> frozenset[int]:
    if token == b"?":
        return frozenset(range(256))
    if len(token) == 1:
        return frozenset(token)
    return frozenset(byte for byte in range(256) if fnmatchcase(bytes([byte]), token))

"""Numbers and bytes at which something changes."""

from fanotify_fastpath._compiler.ranges import Range, width

from .draw import Draw

_EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 127, 128, 200, 255, 256, 1000, 65535, 1 << 16)
_FAR = ((1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_PIECES = (
    b"a",
    b"b",
    b"ab",
    b"abc",
    b".tmp",
    b".",
    b"x",
    b"~",
    b"core",
    b"12345678",
    b"123456789",
    b"\xff",
    b"\x80z",
    b"\0",
)
_TOKENS = ("*", "?", "[ab]", "[!a]", "[a-c]", "[]x]", "[", "a", "b", ".tmp", "x", "\\", "**", "[0-9]", "[!]]", "-")
_MASKS = ("OPEN", "CREATE", "MODIFY", "CLOSE_WRITE", "DELETE", "ONDIR", "OPEN_PERM", "ALL_PERM", "ALL_EVENTS")
#: casts and what they give
CASTS: dict[str, Range] = {
    f"{'i' if signed else 'u'}{bits}": width(bits, signed=signed)
    for bits in (8, 16, 32, 64)
    for signed in (False, True)
}


def an_integer(draw: Draw, *, is_small: bool = False) -> int:
    """An integer, not negative, that events will have too."""
    found = draw.one(_EDGES) if is_small or draw.chance(75) else draw.one(_FAR)
    draw.numbers.append(found)
    return found


def some_bytes(draw: Draw, most: int = 12) -> bytes:
    """Bytes that events will have too."""
    found = b"".join(draw.one(_PIECES) for _ in range(draw.random.choice((0, 1, 1, 1, 2, 2, 3))))
    if draw.chance(3):
        found = found * 20
    draw.texts.append(found[:most])
    return found[:most]


def a_glob(draw: Draw) -> bytes:
    """A pattern; events will have what it is made of."""
    tokens = [draw.one(_TOKENS) for _ in range(draw.random.randint(0, 5))]
    draw.texts.append("".join(each for each in tokens if each[:1] not in "*?[").encode())
    return "".join(tokens).encode()


def a_mask(draw: Draw) -> str:
    """Members of an enumeration of bits, combined."""
    names = [f"Mask.{draw.one(_MASKS)}" for _ in range(draw.random.randint(1, 3))]
    return names[0] if len(names) == 1 else f"({' | '.join(names)})"

"""A whole handler, and what its attach is given."""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

# each registers what it draws
from . import blocks, helpers, integers, loops, states, texts, truths  # noqa: F401
from .blocks import result
from .draw import Draw
from .env import Env
from .pools import CASTS, a_glob, an_integer, some_bytes

GLOBALS = """
LIMIT = 1000
HUGE = 1 << 63
ENDING = b".tmp"
TEXTS = (b"a", b".tmp", b"core")
NUMBERS = (1, 7, 63)
"""
MEMBERS = """
arguments = (Argument("choice", Choice(("first", "second")), ""),)
MOST = 255
NUMBERS = (1, 7, 63)
flag: bool
other: bool
small: u8
signed: i32
large: u64
plain: int
text: Annotated[bytes, Bytes(60)]
texts: Annotated[tuple[bytes, ...], Items(5), Bytes(20)]
globs: Annotated[tuple[bytes, ...], Items(4), Bytes(20)]
sequence: Annotated[tuple[i16, ...], Items(5)]
numbers: Annotated[frozenset[u64], Items(20)]
negatives: Annotated[frozenset[i32], Items(9)]
roots: RootSet
"""


@dataclass(frozen=True)
class Program:
    """
    A handler as it was drawn.

    :ivar body: lines of ``handle``
    :ivar members: lines of the class, before it
    :ivar globals_: lines of the module
    :ivar attributes: of the instance
    :ivar has_state: the class has what ``states.NAMES`` says
    :ivar used: constructs
    :ivar numbers: integers that it compares with
    :ivar texts: bytes that it compares with
    """

    body: tuple[str, ...]
    members: tuple[str, ...]
    globals_: tuple[str, ...]
    attributes: dict[str, Any]
    has_state: bool
    used: frozenset[str]
    numbers: tuple[int, ...]
    texts: tuple[bytes, ...]


def draw_program(seed: str) -> Program:
    """Draw the handler of a seed."""
    draw = Draw(random.Random(seed))
    draw.has_state = draw.chance(50)
    members = MEMBERS + states.DECLARED * draw.has_state
    parts = {"member": members.strip().splitlines(), "global": GLOBALS.strip().splitlines()}
    for returns in draw.random.sample(["number", "truth", "verdict", "maybe"], draw.random.choice((0, 1, 2))):
        where, lines = helpers.define(draw, returns)
        parts[where] += lines
    draw.fuel, env = draw.random.randint(3, 16), Env()
    body: list[str] = []
    while draw.fuel > 0:
        body += draw.statement(env)
    body.append(f"return {result(draw, env)}")
    attributes = _attributes(draw)
    used, numbers, words = frozenset(draw.used), tuple(draw.numbers), tuple(draw.texts)
    around = tuple(parts["member"]), tuple(parts["global"])
    return Program(tuple(body), *around, attributes, draw.has_state, used, numbers, words)


def _attributes(draw: Draw) -> dict[str, Any]:
    def some(most: int, cast: str) -> list[int]:
        bounds = CASTS[cast]
        found = (an_integer(draw) * draw.one([1, 1, -1]) for _ in range(draw.random.randint(0, most)))
        return [each for each in found if bounds.lo <= each <= bounds.hi and each not in (-1, CASTS["u64"].hi)]

    return {
        "choice": draw.one(["first", "second"]),
        "flag": draw.chance(50),
        "other": draw.chance(50),
        "small": an_integer(draw) & 255,
        "signed": draw.one([0, -1, 7, -(1 << 31), an_integer(draw) & 0xFFFF]),
        "large": an_integer(draw),
        "plain": draw.one([0, 5, -9, -(1 << 63), (1 << 63) - 1]),
        "text": some_bytes(draw, 60),
        "texts": tuple(some_bytes(draw, 20) for _ in range(draw.random.randint(0, 5))),
        "globs": tuple(a_glob(draw)[:20] for _ in range(draw.random.randint(0, 4))),
        "sequence": tuple(some(5, "i16")),
        "numbers": frozenset(some(20, "u64")),
        "negatives": frozenset(some(9, "i32")),
        "roots": SimpleNamespace(slot=draw.one([None, 0, 3, 64, 200, 255])),
    }

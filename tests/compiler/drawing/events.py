"""Events that tell the ways of a program apart."""

import random
from collections.abc import Sequence
from typing import Any

from .env import FIELDS, N_ANCESTORS, TEXTS
from .program import Program

#: what is known together
_GROUPS = (
    ("name",),
    ("dev", "inode"),
    ("dir_inode",),
    ("size", "mode", "owner_uid", "owner_gid", "n_links"),
    ("uid", "gid"),
    ("comm",),
    ("exe",),
    ("cgroup_id",),
    ("depth",),
)
_EDGES = (0, 1, 2, 255, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_MODES = (0o100644, 0o040755, 0o120777, 0o010600, 0o140755, 0o060600, 0o020600)
_BITS = (0x2, 0x8, 0x20, 0x100, 0x200, 0x10000, 0x40000000)
_SLOTS = (0, 3, 64, 200, 255)

Event = tuple[dict[int, bool] | None, dict[str, Any]]


def draw_events(program: Program, seed: str, n: int) -> list[Event]:
    """
    Draw events of a program.

    :return: in which slots they lie, None if that is not known, and their fields
    """
    choose = random.Random(f"events/{seed}")
    return [_event(program, choose, choose.choice((10, 60, 90, 100, 100))) for _ in range(n)]


def _event(program: Program, choose: random.Random, percent: int) -> Event:
    fields: dict[str, Any] = {
        "mask": choose.choice((_number(program, choose, 32), sum(choose.sample(_BITS, choose.randint(1, 3))))),
        "time_ns": _number(program, choose, 64),
        "tgid": _number(program, choose, 32),
        "ancestors": tuple(_number(program, choose, 32) for _ in range(choose.choice((0, 1, 2, 5, N_ANCESTORS)))),
    }
    for group in _GROUPS:
        if choose.randrange(100) < percent:
            fields |= {name: _value(program, choose, name) for name in group}
    is_placed = choose.randrange(100) < percent
    return ({slot: choose.random() < 0.5 for slot in _SLOTS} if is_placed else None), fields


def _value(program: Program, choose: random.Random, name: str) -> int | bytes:
    if name in TEXTS:
        # the kernel has no zeros in them
        return _words(program.texts, choose).replace(b"\0", b"\1")[: TEXTS[name]]
    if name == "mode" and choose.random() < 0.7:
        return choose.choice(_MODES)
    return _number(program, choose, FIELDS[name])


def _number(program: Program, choose: random.Random, bits: int) -> int:
    near = choose.choice((*program.numbers, 0)) + choose.choice((-1, 0, 0, 1))
    found = choose.choice((near, near, near, choose.choice(_EDGES), choose.getrandbits(choose.choice((3, 8, 32, 64)))))
    return found % (1 << bits)


def _words(known: Sequence[bytes], choose: random.Random) -> bytes:
    """What the program compares with, a part of it, more of it, or almost it."""
    found = choose.choice((*known, b"", b"a"))
    match choose.randrange(9):
        case 0:
            return found + choose.choice((*known, b"x"))
        case 1:
            return choose.choice((b"a", b"\xff", b"q" * 20)) + found
        case 2:
            return found[:-1]
        case 3:
            return found[1:]
        case 4:
            return bytes(byte ^ choose.choice((0, 0, 0, 0x80, 1)) for byte in found)
        case 5:
            return (found or b"\x80") * 255
        case 6:
            return choose.randbytes(choose.choice((0, 1, 7, 8, 9, 16, 100, 255)))
    return found

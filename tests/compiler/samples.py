"""Samples of the language, and events that tell them apart."""

import itertools
from typing import Any

from fanotify_fastpath.handlers import Handler

from .making import make

M = (1 << 64) - 1
NUMBERS = (0, 1, 2, 7, 63, 64, 255, 1 << 31, (1 << 63) - 1, 1 << 63, M)
TEXTS = (b"", b"a", b"ab", b"abc", b".tmp", b"x.tmp", b"12345678", b"123456789", b"q" * 255, b"a\xff\x80z")

#: of a (u64 or None), b (u64 or None), m (u32), one expression that is a truth
NUMERIC = {
    "sums": "u64(a + b) == 7",
    "sums of what is small": "m + m * 2 - 9 == m * 2 + 5 * 11",
    "products that wrap": "u64(a * b + 3) > u64(a - b)",
    "wrapping to 32 bits": "u32(a + b) >= u32(a * b)",
    "wrapping to signed": "i64(a + b) < i64(a - b)",
    "wrapping to 8 bits": "i8(a) == u8(b) or i16(a ^ b) < 0",
    "wrapping what is negative": "u64(-a) == u64(~b) or u16(-m) == 1",
    "bits": "(a & b) | (a ^ b) == a or a & 1",
    "bits of what is negative": "(i64(a) & i64(b)) < (i64(a) | i64(b))",
    "inverted bits": "~m < -1",
    "division": "a // (b | 1) == 3 or a % (b | 1) == 1",
    "division by what may be 0": "a // b == 1",
    "remainder of what may be 0": "a % b == 1",
    "floored division": "i32(a) // i8(b) < -1",
    "floored remainder": "i32(a) % i8(b) < 0",
    "floored by a constant": "i64(a) // 7 + i64(b) % -5 < 0",
    "division of any sign": "i32(a) // i32(b) == i32(a) % i16(b)",
    "shift to the right": "a >> 3 == 0 or i64(b) >> 2 < 0",
    "shift by more than a word": "a >> (m & 127) == 0",
    "shift of what is signed by much": "i64(a) >> (m & 127) < 0",
    "shift to the left": "u64(a << 5) == u64(b << 1)",
    "shift to the left by much": "u64(a << (m & 127)) > 0",
    "shift by what may be negative": "u64(a << i8(b)) == 8",
    "comparing signs": "i64(a) < b",
    "comparing signs otherwise": "a >= i64(b) or i64(a) == b",
    "chains": "0 < m <= 7 < 64 or 1 == m == a",
    "conditional": "(a if a > b else b) == a",
    "nested conditional": "(1 if a == 0 else 2 if b == 0 else 3) == m",
    "min and max": "min(a, b, 9) + max(m, 3, 4) == 9",
    "min of any sign": "min(i64(a), 5) < max(i8(b), -3)",
    "abs": "abs(i32(a)) == abs(i32(b))",
    "truth": "bool(a) and not b or a and m",
    "truths as numbers": "(a > b) + (b > m) + True == 2",
    "truths compared": "(a > b) == (b > m) or (a == 0) != (m == 0)",
    "truths combined": "(a > b) | (b > m) & (m > 1) ^ (a == b)",
    "membership": "a in (1, 2, 63) or m not in (0, 7)",
    "int of a truth": "int(a > b) * 5 == 5",
    "unary plus": "+m == - -m + (a > 7)",
}


def numeric(text: str) -> type[Handler]:
    """A handler with one of these expressions."""
    return make(
        f"""
        a, m = event.inode, event.mask
        b = event.dir_inode
        if a is None or b is None:
            return deny()
        if {text}:
            return SEND_TO_USERSPACE
        return SKIP_EVENT
        """
    )


def numeric_events() -> list[dict[str, Any]]:
    """Events with all pairs of these numbers."""
    return [
        {"inode": a, "dir_inode": b, "mask": m & 0xFFFFFFFF}
        for (a, b), m in zip(itertools.product(NUMBERS, NUMBERS), itertools.cycle(NUMBERS), strict=False)
    ]


#: of n (bytes), c (bytes or None)
TEXTUAL = {
    "equal": "n == b'abc' or n == b'123456789'",
    "not equal": "n != b'' and n != b'12345678'",
    "equal to a field": "n == event.comm",
    "not equal to a field": "n != event.comm",
    "begin": "n.startswith(b'a') or n.startswith(b'1234567890')",
    "begin of any": "n.startswith((b'.', b'12345678'))",
    "begin with nothing": "n.startswith(b'') and len(n) < 3",
    "end": "n.endswith(b'.tmp') or n.endswith(b'9')",
    "end of any": "n.endswith((b'qqq', b'b'))",
    "length": "len(n) == 3 or len(n) > 200",
    "truth": "not n",
    "contained": "b'34' in n or b'tmp' in n",
    "contained at the end": "b'z' in n",
    "not contained": "b'q' not in n",
    "member": "n in (b'a', b'.tmp')",
    "first byte": "len(n) > 0 and n[0] == 97",
    "last byte": "n and n[-1] == 98",
    "byte that may not be there": "n[3] == 52",
    "byte from the end that may not be there": "n[-4] == 46",
    "byte at a variable": "n[event.mask & 3] == 98",
    "part": "n[1:3] == b'b' or n[1:3] == b'23'",
    "part from the end": "n[-4:] == b'.tmp'",
    "part up to the end": "n[:-1] == b'a' or n[:-4] == b'x'",
    "part of a part": "n[2:][:2] == b'34' or n[1:][-1:] == b'c'",
    "beginning of a part": "n[1:].startswith(b'23') or n[-3:].endswith(b'mp')",
    "length of a part": "len(n[2:5]) == 2 or len(n[-2:]) == 1",
    "contained in a part": "b'a' in n[:1]",
    "byte of a part": "len(n) > 4 and n[2:][1] == 109",
    "glob": "fnmatchcase(n, b'*.tmp') or fnmatchcase(n, b'[a-b]*')",
    "no field": "event.comm is None and len(n) == 1",
    "field that may be none": "event.comm in (b'a', None)",
    "conditional": "(event.comm if event.comm is not None else n) == b'ab'",
}


def textual(text: str) -> type[Handler]:
    """A handler with one of these expressions."""
    return make(
        f"""
        n = event.name
        if n is None:
            return deny()
        if {text}:
            return SEND_TO_USERSPACE
        return SKIP_EVENT
        """
    )


def textual_events() -> list[dict[str, Any]]:
    """Events with these names and several names of processes."""
    comms: list[dict[str, Any]] = [{"comm": comm} for comm in (b"", b"a", b"ab", b"12345678")]
    return [{"name": n, "mask": k, **comm} for k, n in enumerate(TEXTS) for comm in ({}, *comms)]


BODIES = {
    "sum in a loop": """
        total = 0
        for ancestor in event.ancestors:
            total += ancestor
        if total > 10:
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "break and else": """
        for ancestor in event.ancestors:
            if ancestor == 7:
                break
        else:
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "continue": """
        n = 0
        for ancestor in event.ancestors:
            if ancestor & 1:
                continue
            n += 1
        return SKIP_EVENT if n == 2 else SEND_TO_USERSPACE
    """,
    "bytes gone through": """
        digest: u32 = 5381
        if event.name is None:
            return SEND_TO_USERSPACE
        for byte in event.name:
            digest = u32(digest * 33 ^ byte)
        if digest & 1:
            return SKIP_EVENT
        return deny()
    """,
    "enumerate": """
        at = -1
        for n, ancestor in enumerate(event.ancestors):
            if ancestor == 3:
                at = n
        if at < 0:
            return SEND_TO_USERSPACE
        return SKIP_EVENT if at == 1 else deny(errno.EIO)
    """,
    "range of a length": """
        n = 0
        for i in range(len(event.ancestors)):
            if event.ancestors[i] > i:
                n += i
        return SKIP_EVENT if n > 1 else SEND_TO_USERSPACE
    """,
    "range with a step": """
        n = 0
        for i in range(10, -3, -4):
            n = n * 3 + i
        return SKIP_EVENT if n + event.mask == 329 else SEND_TO_USERSPACE
    """,
    "nested loops": """
        n = 0
        for i in range(4):
            for a in event.ancestors:
                if a == i:
                    n += 1
                    break
                n += 2
        return SKIP_EVENT if n % 3 == 0 else SEND_TO_USERSPACE
    """,
    "a loop over a tuple": """
        for ending, code in ((b".tmp", 1), (b"c", 5)):
            if event.name is not None and event.name.endswith(ending):
                return SKIP_EVENT if code == 5 else deny()
        return SEND_TO_USERSPACE
    """,
    "match": """
        match event.mask & 7:
            case 0 | 1:
                return SKIP_EVENT
            case 2 if event.name == b"a":
                return deny()
            case 3 as n if n == event.mask:
                return deny(errno.EIO)
            case other:
                if other == 4:
                    return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "match of bytes": """
        match event.name:
            case None:
                return deny()
            case b"a" | b"abc":
                return SKIP_EVENT
            case _:
                return SEND_TO_USERSPACE
    """,
    "assert": """
        assert event.mask & 2, "never"
        return SKIP_EVENT
    """,
    "index that may be out of range": """
        return SKIP_EVENT if event.ancestors[2] == 3 else SEND_TO_USERSPACE
    """,
    "none as a value": """
        found = None
        for ancestor in event.ancestors:
            if ancestor > 2:
                found = ancestor
        if found is None:
            return deny()
        return SKIP_EVENT if found > 5 else SEND_TO_USERSPACE
    """,
    "none that is compared": """
        if event.uid == 3 and event.uid + 1 == 4:
            return SKIP_EVENT
        if event.uid != event.gid:
            return deny()
        return SEND_TO_USERSPACE
    """,
    "a verdict in a variable": """
        verdict = SEND_TO_USERSPACE
        if event.is_dir:
            verdict = SKIP_EVENT
        elif event.mask & Mask.OPEN:
            verdict = deny()
        return verdict
    """,
    "modes": """
        if event.mode is None:
            return deny()
        if stat.S_ISREG(event.mode) or stat.S_ISSOCK(event.mode) and event.mode & 0o111:
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "members of enumerations": """
        if event.mask & (Mask.OPEN | Mask.CREATE) and not event.mask & ~Mask.ALL_EVENTS:
            return SKIP_EVENT
        return SEND_TO_USERSPACE
    """,
    "narrowed by not": """
        if not event.name or not event.uid:
            return SEND_TO_USERSPACE
        return SKIP_EVENT if event.name[0] == 97 and 100 // event.uid > 20 else deny()
    """,
    "bounded by a test": """
        n = event.inode
        if n is None or n > 1 << 40:
            return deny()
        return SKIP_EVENT if n * 1000 > 5_000 else SEND_TO_USERSPACE
    """,
    "any and all": """
        if any(a == 7 for a in event.ancestors):
            return SKIP_EVENT
        return deny() if all(a > 1 for a in event.ancestors if a != 3) else SEND_TO_USERSPACE
    """,
}
EVENTS: list[dict[str, Any]] = [
    {"mask": mask, "ancestors": ancestors, **more}
    for mask in (0, 1, 2, 3, 4, 0x20, 0x40000000)
    for ancestors in ((), (7,), (1, 3), (2, 4, 3, 7), tuple(range(16)))
    for more in (
        {},
        {"name": b"a", "uid": 3, "gid": 3, "mode": 0o100644, "inode": 5},
        {"name": b"abc", "uid": 0, "gid": 3, "mode": 0o140755, "inode": 6},
        {"name": b"x.tmp", "uid": 5, "mode": 0o040755, "inode": M},
    )
]

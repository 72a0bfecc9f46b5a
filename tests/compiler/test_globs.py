"""Tables of globs fit what ``fnmatch.fnmatchcase`` fits."""

import random
from fnmatch import fnmatchcase

import pytest

from fanotify_fastpath._compiler.globs import MAX_TOKENS, tabulate

N_PATTERNS, N_NAMES = 2_000, 50
_PARTS = (*"*?abc[]!-\\.^", "**", "[ab]", "[!a]", "[a-c]", "[]", "[]a]", "[!]]", "[^a]")
#: classes in all their forms, and bytes with a meaning of their own
_TRICKY = (
    *("[c-a]", "[a-]", "[-a]", "[a-b-c]", "[!", "[!]", "[[]", "[&&a]", "[a||b]", "[~~]", "[\\]", "[a\n]", "[*]"),
    *"\n($",
)
_BYTES = b"abc.-]![\\^\n*&|~($"


def _pattern(choose: random.Random) -> bytes:
    parts = (choose.choice(choose.choice((_PARTS, _PARTS, _TRICKY))) for _ in range(choose.randint(0, 8)))
    found = "".join(parts).encode()
    return found + bytes(choose.choices(range(256), k=choose.choice((0, 0, 0, 1))))


def _name(choose: random.Random, pattern: bytes) -> bytes:
    """Short bytes of those that patterns have; or the pattern, with its wildcards replaced."""
    if choose.random() < 0.5:
        return bytes(choose.choices(_BYTES, k=choose.randint(0, 6)))
    return b"".join(_in_place(choose, byte) for byte in pattern)


def _in_place(choose: random.Random, byte: int) -> bytes:
    if byte in b"*?[]!":
        n = {ord("*"): choose.randint(0, 3), ord("?"): 1}.get(byte, choose.randint(0, 1))
        return bytes(choose.choices(_BYTES, k=n))
    return bytes([byte if choose.random() < 0.95 else choose.randrange(256)])


def test_random_patterns() -> None:
    choose, n_fitting = random.Random("globs"), 0
    for _ in range(N_PATTERNS):
        pattern = _pattern(choose)
        glob = tabulate(pattern)
        for _ in range(N_NAMES):
            name = _name(choose, pattern)
            fits = fnmatchcase(name, pattern)
            assert glob.matches(name) == fits, (pattern, name)
            n_fitting += fits
    assert 0.1 < n_fitting / (N_PATTERNS * N_NAMES) < 0.9


@pytest.mark.parametrize("pattern", [b"?" * MAX_TOKENS, b"*" + b"a" * MAX_TOKENS, b"*a" * MAX_TOKENS + b"*"])
def test_as_long_as_they_may_be(pattern: bytes) -> None:
    glob = tabulate(pattern)
    for n in (MAX_TOKENS - 1, MAX_TOKENS, MAX_TOKENS + 1, 255):
        assert glob.matches(b"a" * n) == fnmatchcase(b"a" * n, pattern)
        assert glob.matches(b"a" * (n - 1) + b"b") == fnmatchcase(b"a" * (n - 1) + b"b", pattern)

"""Arguments of handlers: the same declaration for keywords and for the RFC's packed blob."""

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import InvalidArgument, RootSet
from fanotify_fastpath.arguments import (
    Argument,
    BytesList,
    Choice,
    Integer,
    IntegerSet,
    Kind,
    Roots,
    args_size_bytes,
    check_arguments,
    unpack_arguments,
)

NUMBER = Argument("number", Integer(-5, 5), "a number", 0)
WORD = Argument("word", Choice(("one", "two")), "a word", "one")
NAMES = Argument("names", BytesList(3, 8), "names", ())
IDS = Argument("ids", IntegerSet(4), "ids", ())
ALL = (NUMBER, WORD, NAMES, IDS)


def pack(kind: Kind, value: Any) -> bytes:
    """The RFC's blob for one argument, written here from its description."""
    if isinstance(kind, Integer):
        return struct.pack("<q", value)
    if isinstance(kind, Choice):
        return struct.pack("<I", kind.words.index(value))
    if isinstance(kind, BytesList):
        items = [struct.pack("<I", len(item)) + item.ljust(kind.max_bytes, b"\0") for item in value]
        return (struct.pack("<I", len(items)) + b"".join(items)).ljust(kind.size_bytes, b"\0")
    blob = struct.pack(f"<I{len(value)}I", len(value), *value)
    return blob.ljust(kind.size_bytes, b"\0")


VALUES = st.fixed_dictionaries(
    {
        "number": st.integers(-5, 5),
        "word": st.sampled_from(["one", "two"]),
        "names": st.lists(st.binary(min_size=1, max_size=8), max_size=3).map(tuple),
        "ids": st.frozensets(st.integers(0, (1 << 32) - 1), max_size=4),
    }
)


@given(VALUES)
def test_the_blob_and_the_keywords_say_the_same(values: dict[str, Any]) -> None:
    blob = b"".join(pack(argument.kind, values[argument.name]) for argument in ALL)
    assert len(blob) == args_size_bytes(ALL)
    assert check_arguments(ALL, unpack_arguments(ALL, blob)) == check_arguments(ALL, values) == values


@given(st.binary(max_size=200))
def test_no_blob_makes_anything_but_values_or_einval(blob: bytes) -> None:
    try:
        values = check_arguments(ALL, unpack_arguments(ALL, blob))
    except InvalidArgument:
        return
    assert len(blob) == args_size_bytes(ALL)
    assert values.keys() == {"number", "word", "names", "ids"}


@given(st.binary(min_size=args_size_bytes(ALL), max_size=args_size_bytes(ALL)))
def test_no_blob_of_the_right_size_makes_anything_but_values_or_einval(blob: bytes) -> None:
    try:
        values = check_arguments(ALL, unpack_arguments(ALL, blob))
    except InvalidArgument:
        return
    assert -5 <= values["number"] <= 5


@pytest.mark.parametrize("size", [0, 1, args_size_bytes(ALL) - 1, args_size_bytes(ALL) + 1])
def test_a_size_other_than_the_declared_one_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgument, match=str(args_size_bytes(ALL))):
        unpack_arguments(ALL, bytes(size))


def test_defaults_fill_in_and_what_has_none_must_be_given() -> None:
    assert check_arguments(ALL, {}) == {"number": 0, "word": "one", "names": (), "ids": frozenset()}
    with pytest.raises(InvalidArgument, match="missing"):
        check_arguments((Argument("must", Integer(), "must be given"),), {})


def test_an_unknown_argument_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match=r"'nmber'.*ids, names, number, word"):
        check_arguments(ALL, {"nmber": 1})


@pytest.mark.parametrize(
    ("argument", "given_", "value"),
    [
        (NUMBER, "-3", -3),
        (NUMBER, True, 1),
        (NAMES, "single", (b"single",)),
        (NAMES, ["a", b"\xff", "\udcfe"], (b"a", b"\xff", b"\xfe")),
        (IDS, 7, frozenset({7})),
        (IDS, "7", frozenset({7})),
        (IDS, ["1", 2, 2], frozenset({1, 2})),
    ],
)
def test_values_are_brought_to_one_form(argument: Argument, given_: Any, value: Any) -> None:
    assert check_arguments((argument,), {argument.name: given_}) == {argument.name: value}


@pytest.mark.parametrize(
    ("argument", "given_"),
    [
        (NUMBER, 6),
        (NUMBER, "6"),
        (NUMBER, "x"),
        (NUMBER, "--1"),
        (NUMBER, 1.5),
        (NUMBER, None),
        (WORD, "three"),
        (WORD, 0),
        (NAMES, ["a"] * 4),
        (NAMES, [""]),
        (NAMES, ["123456789"]),
        (NAMES, [1]),
        (NAMES, 7),
        (IDS, [-1]),
        (IDS, [1 << 32]),
        (IDS, range(5)),
        (IDS, ["x"]),
        (IDS, None),
    ],
)
def test_wrong_values_are_einval_and_name_the_argument(argument: Argument, given_: Any) -> None:
    with pytest.raises(InvalidArgument, match=repr(argument.name)) as caught:
        check_arguments((argument,), {argument.name: given_})
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("argument", "blob"),
    [
        (WORD, struct.pack("<I", 2)),
        (NAMES, struct.pack("<I", 4).ljust(NAMES.kind.size_bytes, b"\0")),
        (NAMES, struct.pack("<II", 1, 9).ljust(NAMES.kind.size_bytes, b"\0")),
        (IDS, struct.pack("<I", 5).ljust(IDS.kind.size_bytes, b"\0")),
    ],
)
def test_counts_and_lengths_in_a_blob_are_bounded(argument: Argument, blob: bytes) -> None:
    with pytest.raises(InvalidArgument):
        unpack_arguments((argument,), blob)


def test_roots_are_paths_descriptors_or_a_set(tmp_path: Path) -> None:
    kind = Roots(2)
    fd = os.open(tmp_path, os.O_PATH)
    try:
        for value in (tmp_path, str(tmp_path), os.fsencode(tmp_path), fd, [tmp_path], (fd,)):
            assert [root.inode for root in kind.check("roots", value).roots] == [tmp_path.stat().st_ino]
        blob = struct.pack("<Ii", 1, fd).ljust(kind.size_bytes, b"\0")
        assert kind.unpack(blob) == (fd,)
    finally:
        os.close(fd)
    roots = RootSet()
    assert kind.check("roots", roots) is roots
    with pytest.raises(InvalidArgument):
        kind.check("roots", [tmp_path] * 3)


def test_every_kind_says_what_it_takes() -> None:
    for kind in (Integer(0, 9), Choice(("a", "b")), BytesList(3, 8), IntegerSet(4), Roots(2)):
        assert kind.describe()

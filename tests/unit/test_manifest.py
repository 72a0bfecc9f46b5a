"""What a program says of itself: read as it is meant, and refused when it cannot be right."""

import pytest

from fanotify_fastpath._bpf._abi import LAYOUTS, FpField
from fanotify_fastpath._programs.manifest import Manifest, read_manifest
from fanotify_fastpath.arguments import BytesList, Integer, IntegerSet, Roots
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.handlers import Depends, HandlerFlags
from fanotify_fastpath.state import Counter, StateMap

VERSION = LAYOUTS.enums["fp_handler_limit"]["FP_EVENT_VERSION"]
HEAD = f"version {VERSION}\n\0name it\n\0desc what it does\n\0".encode()


def read(*lines: str) -> Manifest:
    """Lines as the compiler leaves them: each with a zero behind it, and perhaps more."""
    return read_manifest(HEAD + b"\0".join(f"{line}\n".encode() + b"\0" for line in lines))


def test_it_says_who_it_is() -> None:
    found = read("flags unprivileged", "needs name object")
    assert (found.name, found.desc, found.flags) == ("it", "what it does", HandlerFlags.UNPRIVILEGED)
    assert found.needs == FpField.NAME | FpField.OBJECT


def test_it_depends_on_everything_unless_it_says_on_what() -> None:
    assert read().depends == Depends.ALL
    assert read("depends directory name").depends == Depends.DIRECTORY | Depends.NAME
    assert read("depends nothing").depends == Depends.NOTHING


def test_it_says_what_it_is_given() -> None:
    found = read(
        "argument limit integer in bytes", "argument names texts 16 60 of files", "argument uids integers 5 users"
    )
    assert [(each.name, each.kind, each.desc) for each in found.arguments] == [
        ("limit", Integer(), "in bytes"),
        ("names", BytesList(16, 60), "of files"),
        ("uids", IntegerSet(5), "users"),
    ]
    assert found.needs == 0


def test_who_is_given_roots_needs_to_know_the_place() -> None:
    found = read("argument where roots 8 directories")
    assert isinstance(found.arguments[0].kind, Roots)
    assert found.needs == FpField.PLACE


def test_it_says_what_it_remembers() -> None:
    found = read("counter n_seen", "map by_user hash 100 1", "map by_place lru 7 2")
    assert isinstance(found.states["n_seen"], Counter)
    by_user, by_place = found.states["by_user"], found.states["by_place"]
    assert isinstance(by_user, StateMap)
    assert isinstance(by_place, StateMap)
    assert (by_user.max_entries, by_user.key_words, by_user.evict) == (100, 1, False)
    assert (by_place.max_entries, by_place.key_words, by_place.evict) == (7, 2, True)


@pytest.mark.parametrize("section", [b"", b"\0\0\n\n", b"desc alone\n", b"name it\n", f"version {VERSION}\n".encode()])
def test_without_a_name_or_a_version_it_is_refused(section: bytes) -> None:
    with pytest.raises(InvalidArgument, match="it does not say what it is called"):
        read_manifest(section)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"version {VERSION + 1}", "'version' is said twice"),
        ("name other", "'name' is said twice"),
        ("colour red", "unknown word 'colour'; known are version, name,"),
        ("flags setuid", "unknown word 'setuid'; known are unprivileged"),
        ("needs name everything", "unknown word 'everything'; known are name, inode,"),
        ("depends weather", "unknown word 'weather'; known are nothing, directory,"),
        ("argument", "unknown word ''"),
        ("argument a", "unknown word ''"),
        ("argument a float of heaven", "unknown word 'float'; known are integer, texts,"),
        ("argument a texts 16", "has 2 numbers and a description"),
        ("argument a texts 16 -1 names", "'-1' is not a number above 0"),
        ("argument a texts 16 0 names", "'0' is not a number above 0"),
        ("argument a integers \u0663 names", "is not a number above 0"),
        ("argument a integers 9999999999 names", "'9999999999' is not a number above 0"),
        ("argument a integers MOST names", "'MOST' is not a number above 0"),
        ("argument _a integer n", "'_a' cannot be a name"),
        ("argument a.b integer n", "'a.b' cannot be a name"),
        ("counter ", "'' cannot be a name"),
        ("map a hash 5", "a map has a name, a type and two numbers"),
        ("map a tree 5 1", "unknown word 'tree'; known are hash, lru"),
        ("map a hash 5 9", "a key of 9 integers: 1 to 4 are possible"),
        ("map a hash 99999999 1", "a map of 99999999 entries"),
        ("map a hash 1 1 1", "a map has a name, a type and two numbers"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_line(line: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(line)
    assert says in str(caught.value)
    assert str(line.encode())[:80] in str(caught.value)


def test_another_version_of_the_header_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"for version 12 of handler\.h, this is \d+: compile it again"):
        read_manifest(b"version 12\n\0name it\n\0")


@pytest.mark.parametrize("line", ["counter a", "argument a integer n", "map a hash 1 1"])
def test_a_name_is_declared_once(line: str) -> None:
    with pytest.raises(InvalidArgument, match="'a' is declared twice"):
        read("argument a integer n", line)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="it is not UTF-8"):
        read_manifest(HEAD + b"needs \xff\n")

"""Masks: the kernel's bits, their names, and lists of names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanotify_fastpath import InvalidArgument, Mask, mask_names, parse_mask
from fanotify_fastpath.marks import Scope, check_mask
from fanotify_fastpath.mask import EVENT_FLAGS, STREAM_EVENTS

ASKABLE = [
    member
    for member in Mask
    if member & ~EVENT_FLAGS and not member & (STREAM_EVENTS | Mask.ALL_CHANGES_PERM) and member.bit_count() == 1
]


def test_the_bits_are_those_of_linux() -> None:
    assert (Mask.OPEN, Mask.CREATE, Mask.DELETE, Mask.RENAME) == (0x20, 0x100, 0x200, 0x10000000)
    assert (Mask.ONDIR, Mask.EVENT_ON_CHILD, Mask.Q_OVERFLOW) == (0x40000000, 0x08000000, 0x4000)
    assert all(member > 1 << 32 for member in (Mask.RESCAN, Mask.ROOT_GONE, Mask.UNMOUNT, Mask.UNWATCHED))


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ()),
        (Mask.CREATE | Mask.CLOSE_WRITE, ("close_write", "create")),
        (Mask.CREATE | Mask.ONDIR | Mask.EVENT_ON_CHILD, ("create",)),
        (Mask.RESCAN, ("rescan",)),
        (Mask.CLOSE, ("close_write", "close_nowrite")),
        (1 << 50, ("0x4000000000000",)),
    ],
)
def test_names_are_lowest_bit_first(mask: int, names: tuple[str, ...]) -> None:
    assert mask_names(mask) == names
    assert mask_names(int(mask)) == names


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("create", Mask.CREATE),
        ("FAN_CREATE,IN_DELETE", Mask.CREATE | Mask.DELETE),
        (" Create | delete ", Mask.CREATE | Mask.DELETE),
        ("close", Mask.CLOSE_WRITE | Mask.CLOSE_NOWRITE),
        ("move", Mask.MOVED_FROM | Mask.MOVED_TO),
        ("changes", Mask.ALL_CHANGES),
        ("all", Mask.ALL_EVENTS),
        ("create,ondir", Mask.CREATE | Mask.ONDIR),
    ],
)
def test_lists_of_names_are_understood(text: str, mask: Mask) -> None:
    assert parse_mask(text) == mask


def test_what_only_a_guard_denies_has_names_and_no_mark() -> None:
    assert mask_names(Mask.CREATE_PERM | Mask.TRUNCATE_PERM) == ("create_perm", "truncate_perm")
    assert not Mask.ALL_CHANGES_PERM & (Mask.ALL_PERM | Mask.ALL_EVENTS | STREAM_EVENTS)
    with pytest.raises(InvalidArgument, match="guard"):
        check_mask(Mask.OPEN_PERM | Mask.MKDIR_PERM, Scope.SUBTREE)


@pytest.mark.parametrize("text", ["", "creat", "create,", "0x100", "rescan", "q_overflow", "unmount", "create_perm"])
def test_unknown_names_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"known are.*create"):
        parse_mask(text)


@given(st.sets(st.sampled_from(ASKABLE), min_size=1))
def test_names_and_back_is_the_same(members: set[Mask]) -> None:
    mask = Mask(0)
    for member in members:
        mask |= member
    assert parse_mask(",".join(mask_names(mask))) == mask


@pytest.mark.parametrize("scope", list(Scope))
def test_what_cannot_be_asked_for_is_refused(scope: Scope) -> None:
    for mask in (Mask(0), Mask.ONDIR, Mask.Q_OVERFLOW, Mask.CREATE | Mask.RESCAN, Mask.MNT_ATTACH):
        with pytest.raises(InvalidArgument):
            check_mask(mask, scope)
    check_mask(Mask.OPEN | Mask.ONDIR | Mask.EVENT_ON_CHILD, scope)


@pytest.mark.parametrize("mask", [Mask.DELETE_SELF, Mask.MOVE_SELF, Mask.FS_ERROR])
def test_a_subtree_has_no_events_without_a_directory(mask: Mask) -> None:
    with pytest.raises(InvalidArgument):
        check_mask(mask | Mask.CREATE, Scope.SUBTREE)
    check_mask(mask, Scope.FILESYSTEM)


@pytest.mark.parametrize("mask", [Mask.CREATE, Mask.DELETE, Mask.RENAME, Mask.MOVE, Mask.ATTRIB, Mask.DELETE_SELF])
def test_a_mount_has_no_events_on_names(mask: Mask) -> None:
    with pytest.raises(InvalidArgument):
        check_mask(mask | Mask.OPEN, Scope.MOUNT)

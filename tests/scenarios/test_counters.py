"""What is counted in the kernel: by group, and for all groups together; and that nothing is left of marks taken off."""

import contextlib
import os

import pytest

from fanotify_fastpath import Group, Mask, Scope
from fanotify_fastpath._engines.base import KernelCounters
from fanotify_fastpath._engines.kernel import engine as kernel_engine
from outcomes import DEADLINE_S

from . import actions
from .conftest import Stage, only_fanotify, only_kernel
from .support import paths


def counted(group: Group) -> KernelCounters:
    counters = group.kernel_counters
    assert counters is not None
    return counters


@only_fanotify
def test_engine_fanotify_counts_nothing_in_the_kernel(stage: Stage) -> None:
    assert stage.group().kernel_counters is None


@only_kernel
def test_each_group_counts_what_it_was_sent_and_what_was_kept_back(stage: Stage) -> None:
    one, two = stage.dirs("one", "two")
    first, second, idle = stage.group(), stage.group(), stage.group()
    for group in (first, second):
        group.mark(stage.filesystem.mountpoint, Mask.CREATE, scope=Scope.FILESYSTEM)
    first.attach("monitor-subtree", roots=[one])
    stage.other(actions.make_files, one, 30)
    stage.other(actions.make_files, two, 50)
    assert (counted(first).n_sent, counted(first).n_skipped) == (30, 50)
    assert (counted(second).n_sent, counted(second).n_skipped) == (80, 0)
    assert (counted(idle).n_sent, counted(idle).n_skipped) == (0, 0)
    for group, n_sent in ((first, 30), (second, 80), (idle, 0)):
        assert len(group.read(1000, 0)) == n_sent == group.counters.n_delivered
        assert (counted(group).n_dropped, counted(group).n_undecided) == (0, 0)


@only_kernel
def test_what_is_common_to_all_groups_is_told_by_each(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    watching, idle = stage.watch(root, Mask.CREATE).group, stage.group()
    before = counted(idle)
    stage.other(actions.make_files, root, 100)
    after = counted(watching)
    assert after.n_seen - before.n_seen >= 100
    assert (after.n_cached - before.n_cached) + (after.n_walked - before.n_walked) >= 100
    assert after.n_walked - before.n_walked < 100, "the answer for the directory is remembered"
    now = counted(idle)
    assert now.n_seen >= after.n_seen
    assert now.n_missed >= before.n_missed


@only_kernel
def test_records_without_room_are_counted_and_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_engine, "RING_BYTES", 1 << 16)
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    engine = ears.group._engine
    n_made = 1000
    with engine._lock:  # type: ignore[attr-defined]
        stage.other(actions.make_files, root, n_made)
    heard = ears.group.read(10 * n_made, DEADLINE_S)  # makes room for what comes now
    heard += ears.hear(root)
    counters = counted(ears.group)
    assert counters.n_dropped > 0
    lost = sum(event.lost or 0 for event in heard if event.mask & Mask.Q_OVERFLOW)
    assert lost == counters.n_dropped == ears.group.counters.n_lost
    assert lost + len(paths(heard, Mask.CREATE, root)) == n_made


@only_kernel
def test_what_was_counted_can_be_read_after_closing(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    group = stage.watch(root, Mask.CREATE).group
    stage.other(actions.make_files, root, 7)
    group.close()
    assert counted(group).n_sent == 7


def asked_of_kernel() -> list[str]:
    """The marks of all fanotify groups of this process, as the kernel shows them."""
    marks = []
    for fd in os.listdir("/proc/self/fdinfo"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/fdinfo/{fd}") as lines:
            marks += [line for line in lines if line.startswith("fanotify sdev:")]
    return sorted(marks)


@only_kernel
@pytest.mark.parametrize("scope", [Scope.INODE, Scope.SUBTREE, Scope.FILESYSTEM])
def test_the_kernel_is_asked_for_no_more_than_is_wanted(stage: Stage, scope: Scope) -> None:
    (root,) = stage.dirs("root")
    before = asked_of_kernel()
    with Group(engine="kernel") as group:
        group.mark(root, Mask.MODIFY, scope=scope)
        wanted = asked_of_kernel()
        assert len(wanted) == len(before) + 1
        mark = group.mark(root, Mask.OPEN, scope=scope)
        assert asked_of_kernel() != wanted
        group.unmark(mark)
        assert asked_of_kernel() == wanted
    assert asked_of_kernel() == before


@pytest.mark.parametrize("scope", [Scope.INODE, Scope.SUBTREE, Scope.MOUNT])
def test_nothing_is_left_of_a_mark_that_was_taken_off(stage: Stage, scope: Scope) -> None:
    one, two = stage.dirs("one", "two")
    stage.other(actions.make_files, one, 1)
    group = stage.group()
    mask = Mask.OPEN | (Mask.EVENT_ON_CHILD if scope is Scope.INODE else Mask(0))
    mark = group.mark(one, mask, scope=scope)
    group.unmark(mark)
    group.mark(two, Mask.CREATE | Mask.OPEN | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    stage.other(actions.read, one / "f0")
    stage.other(actions.touch, one / "no")
    stage.other(actions.touch, two / "yes")
    heard = stage.ears(group).hear(two)
    assert {event.path for event in heard} == {str(two / "yes")}

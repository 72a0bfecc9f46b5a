"""Equal events: one that waits unread is enough, and what differs from it in anything is told."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from fanotify_fastpath import Event, Group, Mask
from fanotify_fastpath._engines.common.housekeeper import Housekeeper

from . import actions
from .conftest import Stage
from .support import Other
from .users import UID

ACCESSES = Mask.OPEN | Mask.ACCESS | Mask.MODIFY | Mask.CLOSE
N = 5
Key = TypeVar("Key")


@pytest.fixture(autouse=True)
def _nobody_reads_for_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits, waits until the test reads it."""
    monkeypatch.setattr(Housekeeper, "arm", lambda self: None)


@pytest.fixture
def one() -> Iterator[Other]:
    """Another process, on one CPU: each remembers for itself what it sent."""
    with pinned() as process:
        yield process


@contextmanager
def pinned() -> Iterator[Other]:
    with Other() as process:
        process(os.sched_setaffinity, 0, {0})
        yield process


@pytest.fixture
def root(stage: Stage) -> Path:
    (path,) = stage.dirs("root")
    (path / "file").write_bytes(b"x")
    return path


def group_on(stage: Stage, root: Path, events: Mask, **options: bool) -> Group:
    group = stage.group(**options)
    group.mark(root, events)
    return group


def read_all(group: Group) -> list[Event]:
    events = []
    while batch := group.read(timeout_s=0.3):
        events += batch
    return events


def types(events: list[Event]) -> Counter[str]:
    return Counter(name for event in events for name in event.names)


def as_unread(stage: Stage, told: Counter[Key]) -> Counter[Key]:
    """What was told while it waited unread: the daemon reads at once, so that there any number may come of it."""
    if stage.engine != "daemon":
        return told
    assert max(told.values()) <= N
    return Counter(set(told))


def test_what_waits_unread_is_not_told_again_and_what_was_read_is(stage: Stage, root: Path, one: Other) -> None:
    group = group_on(stage, root, ACCESSES)
    for _ in range(3):
        for _ in range(N):
            one(actions.read, root / "file")
        assert as_unread(stage, types(read_all(group))) == {"open": 1, "access": 1, "close_nowrite": 1}


def test_each_group_has_a_reader_of_its_own(stage: Stage, root: Path, one: Other) -> None:
    prompt, late = (group_on(stage, root, Mask.OPEN) for _ in range(2))
    opened: Counter[str] = Counter()
    for _ in range(N):
        one(actions.read, root / "file")
        opened += types(read_all(prompt))
    assert opened == {"open": N}
    assert as_unread(stage, types(read_all(late))) == {"open": 1}


def test_a_name_that_comes_and_goes_is_told_each_time(stage: Stage, root: Path, one: Other) -> None:
    group = group_on(stage, root, Mask.CREATE | Mask.DELETE | Mask.RENAME)
    for _ in range(N):
        one(actions.touch, root / "new")
        one(os.rename, root / "new", root / "newer")
        one(os.rename, root / "newer", root / "new")
        one(os.unlink, root / "new")
    told = types(read_all(group))
    if stage.engine == "kernel":
        assert told == {"create": N, "rename": 2 * N, "delete": N}
    else:
        assert set(told) >= {"create", "rename", "delete"}


def test_another_process_another_name_and_another_user_are_told(stage: Stage, root: Path, one: Other) -> None:
    os.chmod(stage.top, 0o755)
    group = group_on(stage, root, Mask.OPEN)
    with pinned() as third:
        for n in range(3):
            file, link = root / f"file{n}", root / f"link{n}"
            file.write_bytes(b"x")
            os.link(file, link)
            for _ in range(N):
                one(actions.read, file)
                third(actions.read, file)
                one(actions.read, link)
                if stage.engine == "kernel":
                    third(os.seteuid, 65534)
                    third(actions.read, file)
                    third(os.seteuid, 0)
            found = as_unread(stage, Counter((event.path, event.tgid, event.uid) for event in read_all(group)))
            expected = {(str(file), one.pid, UID): 1, (str(file), third.pid, UID): 1, (str(link), one.pid, UID): 1}
            if stage.engine == "kernel":  # the other one tells of a process what it is when the event is read
                expected[str(file), third.pid, 65534] = 1
            if found == expected:
                break  # else two of them may have the same place in the table of what was sent: then others will not
        assert found == expected


def test_after_a_rename_the_same_file_is_told_by_its_new_path(stage: Stage, root: Path, one: Other) -> None:
    stage.dirs("root/a")
    (root / "a/file").write_bytes(b"x")
    group = group_on(stage, root, Mask.OPEN | Mask.RENAME | Mask.ONDIR)
    for name in ("a", "b", "c"):
        for _ in range(N):
            one(actions.read, root / name / "file")
        one(os.rename, root / name, root / chr(ord(name) + 1))
    opened = [event.path for event in read_all(group) if event.mask & Mask.OPEN]
    if stage.engine == "kernel":
        assert opened == [str(root / name / "file") for name in ("a", "b", "c")]
    elif stage.engine == "daemon":  # which has read them by then, or some
        assert {*opened} <= {str(root / name / "file") for name in ("a", "b", "c", "d")}
        assert 1 <= len(opened) <= 3 * N
    else:  # one waits unread, and is told by the path of the time when it is read
        assert len(opened) == 1


def test_a_new_group_does_not_inherit_what_waited_for_the_one_before(stage: Stage, root: Path, one: Other) -> None:
    for _ in range(N):
        with Group(engine=stage.engine) as group:
            group.mark(root, Mask.OPEN)
            one(actions.read, root / "file")
            assert types(read_all(group)) == {"open": 1}

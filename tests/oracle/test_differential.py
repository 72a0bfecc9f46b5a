"""The same script heard by plain fanotify and by a group on the same filesystem: every event of one is in the other."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator

import pytest

from conftest import everywhere
from fanotify_fastpath import Event, Mask, Scope
from fanotify_fastpath.lowlevel import EventRecord, FanotifyFile, HandleInfo, InfoType, InitFlag, MarkFlag
from fanotify_fastpath.mask import EVENT_FLAGS
from scenarios import actions
from scenarios.conftest import Stage

from . import program

#: label of an object → everything that was told about it
Account = dict[str, Mask]
NAMING = Mask.CREATE | Mask.RENAME
MASKS = [
    pytest.param(Mask.ALL_EVENTS, id="all"),
    pytest.param(Mask.ALL_CHANGES, id="changes"),
    pytest.param(Mask.CREATE | Mask.DELETE | Mask.MOVE, id="names"),
    pytest.param(Mask.OPEN | Mask.CLOSE, id="open and close"),
]


@contextlib.contextmanager
def plain_listener(stage: Stage, mask: Mask) -> Iterator[FanotifyFile]:
    """A filesystem mark as the kernel has it; creations and renames too, so that directories can be named."""
    flags = InitFlag.CLOEXEC | InitFlag.NONBLOCK | InitFlag.UNLIMITED_QUEUE | InitFlag.REPORT_DFID_NAME_TARGET
    with FanotifyFile.open(flags) as listener:
        listener.mark(MarkFlag.ADD | MarkFlag.FILESYSTEM, mask | NAMING | Mask.ONDIR, stage.filesystem.mountpoint)
        yield listener


def read_all(listener: FanotifyFile) -> list[EventRecord]:
    """All records but those of this process: the engine looks at directories."""
    records: list[EventRecord] = []
    while batch := listener.read_events():
        records += batch
    return [record for record in records if record.pid != os.getpid()]


def handles(record: EventRecord) -> dict[int, HandleInfo]:
    return {info.info_type: info for info in record.infos if isinstance(info, HandleInfo)}


def account_of_records(records: list[EventRecord], mask: Mask) -> Account:
    """By name; an event on a directory itself counts for the name that it has then."""
    names: dict[bytes, bytes] = {}
    account: Account = defaultdict(lambda: Mask(0))
    for record in records:
        found = handles(record)
        entry = found.get(InfoType.DFID_NAME) or found.get(InfoType.NEW_DFID_NAME)
        if entry is None or entry.name is None:
            continue  # a change of the link count names no directory
        name = names.get(entry.handle) if entry.name == b"." else entry.name
        if record.mask & NAMING and InfoType.FID in found:
            names[found[InfoType.FID].handle] = entry.name
        types = record.mask & mask & ~EVENT_FLAGS
        if name is None or not types:
            continue  # a directory that was there before; or a record for naming only
        old = found.get(InfoType.OLD_DFID_NAME)
        label = os.fsdecode(name if old is None else (old.name or b"") + b" -> " + name)
        account[label] |= types
    return account


def account_of_events(events: list[Event]) -> Account:
    account: Account = defaultdict(lambda: Mask(0))
    for event in events:
        assert event.raw_path is not None, event
        assert not event.undecided, event
        label = os.path.basename(event.path or "")
        if event.raw_old_path is not None:
            label = f"{os.path.basename(event.old_path or '')} -> {label}"
        account[label] |= event.mask
    return account


@everywhere
@pytest.mark.parametrize("mask", MASKS)
def test_a_group_tells_what_the_kernel_tells(stage: Stage, mask: Mask) -> None:
    (base,) = stage.dirs("base")
    group = stage.group()
    group.mark(stage.filesystem.mountpoint, mask | Mask.ONDIR, scope=Scope.FILESYSTEM)
    ears = stage.ears(group)
    with plain_listener(stage, mask) as listener:
        # openings of a directory before and after its rename merge, in one queue or the other
        moves_directories = not mask & Mask.OPEN
        stage.other(program.play_unique, os.fsencode(base), 7, 400, moves_directories)
        events = ears.hear(base)
        records = read_all(listener)
    told, true = account_of_events(events), account_of_records(records, mask)
    expected = {label: types for label, types in true.items() if "fence" not in label}
    assert len(expected) > 50
    told.pop(base.name, None)  # there before the listeners were: the records cannot name it
    assert {label: types for label, types in told.items() if expected.get(label) != types} == {}
    assert expected.keys() - told.keys() == set()


@everywhere
def test_processes_are_the_same(stage: Stage) -> None:
    (base,) = stage.dirs("base")
    group = stage.group()
    group.mark(stage.filesystem.mountpoint, Mask.CREATE, scope=Scope.FILESYSTEM)
    with plain_listener(stage, Mask.CREATE) as listener:
        stage.other(actions.make_files, base, 20)
        events = stage.ears(group).hear(base)
        records = [record for record in read_all(listener) if record.mask & Mask.CREATE]
    assert [event.tgid for event in events] == [record.pid for record in records][: len(events)]
    assert [event.inode for event in events] == [os.stat(base / f"f{n}").st_ino for n in range(20)] or (
        stage.filesystem.kind == "overlayfs"
    )

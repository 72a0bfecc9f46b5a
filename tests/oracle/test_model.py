"""Random programs: the events, folded, are the tree."""

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath import Event, Mask
from mounting import Mounter
from scenarios.conftest import Stage
from scenarios.support import Other

from . import program
from .fold import Picture
from .program import OPERATIONS, Setting

SEEDS = Path(__file__).with_name("seeds.json")
N_PROCESSES = 3
FILESYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs", "overlayfs")
#: overlayfs: handles do not tell the inode, so the two renames of an exchange cannot be told from overwriting
UNSUPPORTED = {"overlayfs": {"exchange", "whiteout", "tmpfile"}}
Log = list[tuple[str, tuple[Any, ...], int]]


def run(stage: Stage, mounts: Mounter, seed: int, n_operations: int, n_processes: int = N_PROCESSES) -> None:
    """Run one program under watch, and compare."""
    inside, outside = stage.dirs("inside", "outside")
    alias = mounts.bind(inside)
    kind = stage.filesystem.kind
    setting = Setting(
        os.fsencode(inside),
        os.fsencode(outside),
        os.fsencode(alias),
        seed,
        n_operations,
        tuple(name for name in OPERATIONS if name not in UNSUPPORTED.get(kind, ())),
    )
    picture = Picture(setting.inside)
    ears = stage.watch(inside, Mask.ALL_CHANGES if seed % 2 else Mask.CREATE | Mask.DELETE | Mask.RENAME)
    events: list[Event] = []
    logs: list[Log] = []

    def take(batch: list[Event]) -> None:
        for event in batch:
            picture.fold(event)
        events.extend(batch)

    with contextlib.ExitStack() as exits:
        players = [exits.enter_context(Other()) for _ in range(n_processes)]
        for who, player in enumerate(players):
            player.start(program.play, setting, who)
        waiter = threading.Thread(target=lambda: logs.extend(player.finish() for player in players))
        waiter.start()
        while waiter.is_alive():
            take(ears.group.read(1000, 0.01))
        waiter.join()
    assert len(logs) == n_processes
    take(ears.hear(inside))
    picture.finish()
    said = picture.differences()
    if said:
        save(
            {
                "filesystem": kind,
                "how": stage.how,
                "seed": seed,
                "n_operations": n_operations,
                "n_processes": n_processes,
            }
        )
        report(said, events, picture)
    assert said == [], f"seed {seed} on {kind} by {stage.how}"
    assert picture.n_looks <= len(events) // 3 + 10


def save(entry: dict[str, Any]) -> None:
    """Keep a seed that failed, for replay."""
    seeds = json.loads(SEEDS.read_text())
    print("failed:", json.dumps(entry))
    if entry not in seeds:
        SEEDS.write_text("[\n" + ",\n".join(" " + json.dumps(each) for each in [*seeds, entry]) + "\n]\n")


def report(said: list[str], events: list[Event], picture: Picture) -> None:
    """Print what differs, and the events that have to do with it."""
    print(*said, sep="\n")
    first = os.fsencode(said[0].split("'")[1]).decode("unicode_escape").encode("latin-1")
    names = set(first[len(picture.top) + 1 :].split(b"/"))
    for event in events:
        paths = (event.raw_path or b"") + (event.raw_old_path or b"")
        if names & set(paths.split(b"/")) and event.mask & (Mask.CREATE | Mask.DELETE | Mask.RENAME | Mask.RESCAN):
            print(event, event.inode)


@pytest.mark.parametrize("filesystem", FILESYSTEMS, indirect=True)
@pytest.mark.parametrize("how", ["scope", "handler"], indirect=True)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_events_of_a_random_program_folded_are_the_tree(stage: Stage, mounts: Mounter, seed: int) -> None:
    run(stage, mounts, seed, 300)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("filesystem", FILESYSTEMS, indirect=True)
@pytest.mark.parametrize("how", ["scope", "handler"], indirect=True)
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_many_random_programs(stage: Stage, mounts: Mounter, seed: int) -> None:
    run(stage, mounts, seed, 200 + seed % 7 * 200)


@pytest.mark.parametrize(
    ("filesystem", "how", "seed", "n_operations", "n_processes"),
    [tuple(entry.values()) for entry in json.loads(SEEDS.read_text())],
    indirect=["filesystem", "how"],
)
def test_a_seed_that_failed_once_passes(
    stage: Stage, mounts: Mounter, seed: int, n_operations: int, n_processes: int
) -> None:
    run(stage, mounts, seed, n_operations, n_processes)

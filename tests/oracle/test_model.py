"""Random programs: the events, folded, are the tree."""

import contextlib
import json
import os
from dataclasses import asdict, astuple

import pytest

from fanotify_fastpath import Mask
from mounting import Mounter
from scenarios.conftest import Stage
from scenarios.support import Other

from .model import FILESYSTEMS, Case, Outcome, saved, watch

N_PROCESSES = 3


def run(stage: Stage, mounts: Mounter, seed: int, n_operations: int, n_processes: int = N_PROCESSES) -> None:
    """Run one program under watch, and compare."""
    case = Case(stage.filesystem.kind, stage.how, seed, n_operations, n_processes)
    with contextlib.ExitStack() as exits:
        players = [exits.enter_context(Other()) for _ in range(n_processes)]
        outcome = watch(stage, mounts, case.mask, case.scripts(), players)
    said = outcome.differences
    if said:
        case.save()
        print("failed:", json.dumps(asdict(case)))
        report(said, outcome)
    assert said == [], f"{case}; to shrink: PYTHONPATH=tests .venv/bin/python -m oracle.shrink {seed}"
    assert outcome.picture.n_looks <= len(outcome.events) // 3 + 10


def report(said: list[str], outcome: Outcome) -> None:
    """Print what differs, and the events that have to do with it."""
    print(*said, sep="\n")
    first = os.fsencode(said[0].split("'")[1]).decode("unicode_escape").encode("latin-1")
    names = set(first[len(outcome.picture.top) + 1 :].split(b"/"))
    for event in outcome.events:
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
    [astuple(case) for case in saved()],
    indirect=["filesystem", "how"],
)
def test_a_seed_that_failed_once_passes(
    stage: Stage, mounts: Mounter, seed: int, n_operations: int, n_processes: int
) -> None:
    run(stage, mounts, seed, n_operations, n_processes)

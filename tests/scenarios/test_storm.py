"""S17: eight processes, and everything inside is told or covered, with the right path, and nothing from outside."""

import contextlib
import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import everywhere
from fanotify_fastpath import Event, Mask
from sizes import WORK, repeated

from . import storm
from .conftest import Stage, both_ways
from .storm import Made, Plan
from .support import Ears, Other, paths, shell

N_WRITERS = 5
PAUSE_S = 0.002


@dataclass
class Heard:
    """Events as they came, with the time at which they were had."""

    created: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    rescans: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    def take(self, events: list[Event]) -> None:
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        for event in events:
            if event.mask & Mask.CREATE and not event.is_dir and event.path is not None:
                self.created[os.path.basename(event.path)].append(event)
            if event.mask & Mask.RESCAN and event.path is not None:
                self.rescans[event.path] = now
            if event.mask & Mask.Q_OVERFLOW:
                self.lost += event.lost or 1

    def is_rescanned(self, path: str, boot_ns: int) -> bool:
        """Tell whether a rescan that was had after *boot_ns* covers the path."""
        above = path
        while above != "/":
            if self.rescans.get(above, 0) > boot_ns:
                return True
            above = os.path.dirname(above)
        return False


def play(ears: Ears, plan: Plan, links: str, n_operations: int, seed: int) -> tuple[list[Made], Heard, int]:
    """Let the storm pass, reading all the while. Returns the truth, what was heard, and the number of operations."""
    heard, made, n_done = Heard(), list[Made](), 0
    with contextlib.ExitStack() as exits:
        processes = [exits.enter_context(Other()) for _ in range(8)]
        writers, movers = processes[:N_WRITERS], processes[N_WRITERS:]
        half = plan.n_outer // 2
        movers[0].start(storm.move_outer, plan, list(range(half)), seed)
        movers[1].start(storm.move_outer, plan, list(range(half, plan.n_outer)), seed + 1)
        movers[2].start(storm.move_inner, plan, links, seed + 2)
        for n, writer in enumerate(writers):
            writer.start(storm.write_files, plan, links, n, n_operations // N_WRITERS, seed + 10 + n)
        results: list[tuple[list[Made], int]] = []
        waiter = threading.Thread(target=lambda: results.extend(writer.finish() for writer in writers))
        waiter.start()
        while waiter.is_alive():
            heard.take(ears.group.read(10_000, 0.2))
        waiter.join()
        words = storm.Words(plan)
        words.stop()
        words.close()
        n_done = sum(n for _, n in results) + sum(mover.finish() for mover in movers)
    for files, _ in results:
        made += files
    return made, heard, n_done


@dataclass
class Tally:
    """How many files fared how."""

    n_inside: int = 0
    n_outside: int = 0
    n_ambiguous: int = 0
    n_undecided: int = 0
    n_by_rescan: int = 0
    wrong: list[str] = field(default_factory=list)


def check(made: list[Made], heard: Heard, plan: Plan) -> Tally:
    """Compare what was heard with the truth."""
    tally = Tally()
    for file in made:
        events = heard.created.get(file.name, [])
        decided = [event for event in events if not event.undecided]
        tally.n_undecided += len(events) - len(decided)
        if len(decided) < len(events) and not file.is_doubtful(plan):
            tally.wrong.append(f"told as undecided without need: {file}")
        if len(events) > 1:
            tally.wrong.append(f"told {len(events)} times: {file}")
        for event in decided:
            is_inside = (event.path or "").startswith(plan.inside + "/")
            if not is_inside or not file.may_be_at(plan, event.path or ""):
                tally.wrong.append(f"told as {event.path}: {file}")
        if not file.is_certain:
            tally.n_ambiguous += 1
        elif not file.place(plan).startswith(plan.inside + "/"):
            tally.n_outside += 1
        else:
            tally.n_inside += 1
            if not events and heard.is_rescanned(file.place(plan), file.boot_ns):
                tally.n_by_rescan += 1
            elif not events:
                tally.wrong.append(f"not told: {file.place(plan)}: {file}")
    return tally


def storm_on(stage: Stage, n_operations: int, seed: int) -> Tally:
    root, outside = stage.dirs("root", "outside")
    # on a slow machine as many moves for each operation as on others
    plan = Plan(str(stage.top / "words"), str(root), str(outside), pause_s=PAUSE_S / WORK)
    storm.prepare(plan)
    links = str(stage.top / "links")
    with Other() as holder:
        holder(storm.hold_open, plan, links)
        ears = stage.watch(root, Mask.CREATE | Mask.RENAME)
        made, heard, n_done = play(ears, plan, links, n_operations, seed)
    heard.take(ears.hear(root))
    assert heard.lost == 0
    assert n_done >= n_operations
    tally = check(made, heard, plan)
    print(len(made), "files", tally)
    assert tally.wrong[:5] == [], f"{len(tally.wrong)} of {len(made)} are wrong; seed {seed}"
    n_made = len(made)
    assert min(tally.n_inside, tally.n_outside) > n_made // 10
    assert tally.n_ambiguous < n_made // 3  # the slower the machine, the more
    assert tally.n_undecided < n_made // 5
    assert tally.n_by_rescan < n_made // 5
    return tally


@everywhere
@both_ways
def test_s17_every_file_made_inside_is_told_and_none_from_outside(stage: Stage) -> None:
    storm_on(stage, repeated(20_000, 2_000), 1)


@pytest.mark.timeout(1800)  # in a virtual machine beside others
def test_s17_a_hundred_thousand_operations(stage: Stage) -> None:
    storm_on(stage, 100_000, 5)


@pytest.mark.long
@pytest.mark.timeout(9000)  # in a virtual machine
@everywhere
@both_ways
def test_s17_a_million_operations(stage: Stage) -> None:
    storm_on(stage, 1_000_000, 17)


def chains_on(stage: Stage, n_chains: int) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    heard: list[Event] = []
    with contextlib.ExitStack() as exits:
        processes = [exits.enter_context(Other()) for _ in range(4)]
        for who, process in enumerate(processes):
            process.start(storm.make_chains, str(root), who, n_chains)
        waiter = threading.Thread(target=lambda: [process.finish() for process in processes])
        waiter.start()
        while waiter.is_alive():
            heard += ears.group.read(10_000, 0.2)
        waiter.join()
    heard += ears.hear(root)
    files = sorted(path for path in paths(heard, Mask.CREATE, root) if path.endswith("/f"))
    assert files == sorted(f"{who}-{n}/a/b/c/d/e/f" for who in range(4) for n in range(n_chains))
    assert len(heard) == 4 * n_chains * 7


@both_ways
def test_mkdir_p_and_touch_by_four_processes_is_told_in_full(stage: Stage) -> None:
    chains_on(stage, repeated(1000, 100))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("filesystem", ["tmpfs"], indirect=True)  # for its room
@both_ways
def test_mkdir_p_and_touch_forty_thousand_times(stage: Stage) -> None:
    chains_on(stage, 10_000)


@pytest.mark.long
@everywhere
@both_ways
def test_mkdir_p_and_touch_eight_thousand_times(stage: Stage) -> None:
    chains_on(stage, 2_000)


def test_mkdir_p_and_touch_by_the_shell_is_told_in_full(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    shell("for n in $(seq 100); do mkdir -p $n/a/b/c/d/e && touch $n/a/b/c/d/e/f; done", Path(root))
    heard = ears.hear(root)
    chain = ("", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/b/c/d/e", "/a/b/c/d/e/f")
    assert paths(heard, Mask.CREATE, root) == [f"{n}{part}" for n in range(1, 101) for part in chain]

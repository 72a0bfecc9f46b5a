"""S19, S21: roots, handlers and groups that come and go while a storm passes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import open_descriptors
from fanotify_fastpath import Group, Mask
from outcomes import DEADLINE_S
from sizes import repeated

from . import actions
from .conftest import Stage
from .support import Other, paths
from .users import ids

N_CYCLES = repeated(200, 40)


@contextlib.contextmanager
def storm(*directories: Path, stop: Path) -> Iterator[None]:
    """Let one process for each directory make and remove things there."""
    with contextlib.ExitStack() as exits:
        processes = [exits.enter_context(Other()) for _ in directories]
        for process, directory in zip(processes, directories, strict=True):
            process.start(actions.churn_until, directory, stop)
        try:
            yield
        finally:
            actions.touch(stop)
            for process in processes:
                assert process.finish() > 0


def test_s19_a_root_added_in_a_storm_is_heard_at_once_and_one_removed_no_more(stage: Stage) -> None:
    root, one, two, deep, fence = stage.dirs("root", "one", "two", "two/a/b", "fence")
    ears = stage.watch(root, Mask.CREATE)
    ears.group.add_root(fence)
    heard, expected = [], []
    with storm(root, one, two, stop=stage.top / "stop"):
        for n in range(N_CYCLES // 2):
            ears.group.add_root(two)
            stage.other(actions.touch, deep / f"yes{n}")
            expected.append(f"a/b/yes{n}")
            ears.group.remove_root(two)
            stage.other(actions.touch, deep / f"no{n}")
            heard += ears.hear(fence)
    told = paths(heard, Mask.CREATE, two)
    assert [path for path in told if path.startswith("a/b/")] == expected
    assert not [path for path in paths(heard, Mask.CREATE, one) if path.startswith("noise")]
    assert ears.group.counters.n_lost == 0


def test_s19_handlers_change_in_a_storm_and_the_new_one_counts_at_once(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root, Mask.CREATE)
    heard = []
    with storm(root, root.parent, stop=stage.top / "stop"):
        for n in range(N_CYCLES // 2):
            attachment = ears.group.attach("ignore-prefix", prefixes=["mark"])
            stage.other(actions.touch, root / f"mark-no{n}")
            heard += ears.hear(root)
            ears.group.detach(attachment)
            stage.other(actions.touch, root / f"mark-yes{n}")
            heard += ears.hear(root)
    marks = [path for path in paths(heard, Mask.CREATE, root) if path.startswith("mark")]
    assert marks == [f"mark-yes{n}" for n in range(N_CYCLES // 2)]


def cycle(stage: Stage, root: Path, n_cycles: int) -> None:
    """Open, mark, attach, read a little, detach and close."""
    for n in range(n_cycles):
        with Group(engine=stage.engine) as group:
            if n % 2:
                group.mark(root, Mask.ALL_EVENTS | Mask.ONDIR)
            else:
                stage.mark_whole(group, Mask.ALL_EVENTS | Mask.ONDIR)
                group.attach("monitor-subtree", roots=[root])
            attachment = group.attach("ignore-prefix", prefixes=["x"])
            if n % 3:
                group.read(100, 0.002)
            if n % 5:
                group.detach(attachment)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_s21_groups_come_and_go_in_a_storm_and_leave_nothing(stage: Stage, n_threads: int) -> None:
    root, outside = stage.dirs("root", "outside")
    before, threads_before = open_descriptors(), threading.active_count()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            cycle(stage, root, N_CYCLES // n_threads)
        except BaseException as exc:
            failures.append(exc)

    with storm(root, outside, stop=stage.top / "stop"):
        during = open_descriptors()
        workers = [threading.Thread(target=work) for _ in range(n_threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert failures == []
        assert open_descriptors() == during
    assert threading.active_count() == threads_before
    assert open_descriptors() == before


def test_s21_a_group_closed_while_another_thread_reads_it_in_a_storm(stage: Stage) -> None:
    root, outside = stage.dirs("root", "outside")
    with storm(root, outside, stop=stage.top / "stop"):
        for _ in range(N_CYCLES // 4):
            group = Group(engine=stage.engine)
            group.mark(root, Mask.ALL_EVENTS | Mask.ONDIR)
            n_heard: list[int] = []
            reader = threading.Thread(target=lambda: n_heard.append(sum(1 for _ in group)))  # noqa: B023
            reader.start()
            group.read(1, 0.05)
            group.close()
            reader.join(DEADLINE_S)
            assert not reader.is_alive()


def test_a_group_that_is_never_closed_is_closed_by_leaving_the_process(stage: Stage) -> None:
    """A process that ends without closing its group does not hang on its way out."""
    import subprocess
    import sys

    (root,) = stage.dirs("root")
    script = (
        "import fanotify_fastpath as fan, sys\n"
        "group = fan.Group(engine=sys.argv[1])\n"
        "group.mark(sys.argv[2])\n"
        "print(len(group.read(timeout_s=0)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, stage.engine, str(root)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **ids(),
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_64_groups_on_one_filesystem_hear_each_its_own(stage: Stage) -> None:
    n_groups = 32 if stage.engine == "daemon" else 64  # the kernel gives a process only so many
    roots = stage.dirs(*(f"root{n}" for n in range(n_groups)))
    ears = [stage.watch(root, Mask.CREATE) for root in roots]
    for root in roots:
        stage.other(actions.touch, root / "file")
    for root, each in zip(roots, ears, strict=True):
        assert [event.path for event in each.hear(root)] == [str(root / "file")]


def test_thousands_of_roots_in_one_group(stage: Stage) -> None:
    stage.other(actions.make_tree, stage.top / "roots", 3000, 3000)
    roots = [entry.path for entry in os.scandir(stage.top / "roots")]
    (outside,) = stage.dirs("outside")
    group = stage.group()
    mark = group.mark(roots[0], Mask.CREATE)
    for root in roots[1:]:
        mark.roots.add(root)
    ears = stage.ears(group)
    stage.other(actions.touch, outside / "no")
    stage.other(actions.touch, os.path.join(roots[1234], "yes"))
    assert [event.path for event in ears.hear(Path(roots[-1]))] == [os.path.join(roots[1234], "yes")]

"""
What a process leaves behind, whether it closes its groups or is killed: nothing.

The kernel is asked for all programs, maps and links that it has; and whether it still tells of what happens on a
filesystem, which it does as long as the sentinel's mark is there, is counted by a program of the test's own.
"""

import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath._bpf.libbpf import Object
from mounting import Mounter
from outcomes import wait_until
from scenarios import actions
from scenarios.support import Other
from sizes import repeated

from .census import census
from .conftest import Compile

TESTS = Path(__file__).parents[1]
#: within which nothing of a killed process is attached any more
GONE_S = 1.0
#: how long one may listen before it is killed
LISTENING_S = 1.0

pytestmark = pytest.mark.kernel_engine


@contextlib.contextmanager
def listener(*arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """The process of ``listener.py``; it is killed in the end."""
    command = [sys.executable, "-m", "kernel.listener", *map(str, arguments)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: "subprocess.Popen[str]", word: str) -> float:
    """Read its lines up to this one, and return the time."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == f"{word}\n":
            return time.monotonic()
    pytest.fail(f"it ended before it said {word!r}")


@pytest.fixture
def top(mounts: Mounter) -> Path:
    """A filesystem of the test's own, on which nobody else has a mark."""
    top = mounts.make("ext4")
    for name in ("root", "outside"):
        (top / name).mkdir()
    (top / "root/file").touch()
    return top


@pytest.fixture
def load(top: Path) -> Iterator[None]:
    """Two processes make and remove things inside and outside."""
    with contextlib.ExitStack() as exits:
        processes = [exits.enter_context(Other()) for _ in range(2)]
        for process, name in zip(processes, ("root", "outside"), strict=True):
            process.start(actions.churn_until, top / name, top / "stop")
        yield
        actions.touch(top / "stop")
        for process in processes:
            assert process.finish() > 0


class Calls:
    """Counts how often the kernel calls ``fsnotify()`` for this process."""

    def __init__(self, program_file: Object) -> None:
        self._map = program_file.map("calls").open()

    def on_open(self, path: Path) -> int:
        """Open and close a file: the number of calls, which are left out where nobody has a mark."""
        before = self._count()
        os.close(os.open(path, os.O_RDONLY))
        return self._count() - before

    def _count(self) -> int:
        (count,) = struct.unpack("=Q", self._map.lookup(bytes(4)) or b"")
        return int(count)

    def close(self) -> None:
        self._map.close()


@pytest.fixture
def calls(compiled: Compile) -> Iterator[Calls]:
    with Object.open_file(compiled("count_calls")) as program_file:
        constants = program_file.map(".rodata")
        constants.set_initial(struct.pack("=Q", os.getpid()) + constants.initial[8:])
        program_file.load()
        with program_file.program("count_calls").attach(), contextlib.closing(Calls(program_file)) as counted:
            yield counted


def cycles_leave_nothing(top: Path, how: str, n_cycles: int) -> None:
    before = census()
    counts = [len(before[kind]) for kind in ("program", "map", "link")]
    with listener(how, top / "root", n_cycles, *counts) as process:
        until(process, "imported")
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert process.wait() == 0
    print(f"{n_cycles} cycles, {told['each_ms']} ms each")
    assert told["after"] == told["before"]
    wait_until(lambda: census() == before, "the kernel has what it had before")


@pytest.mark.usefixtures("load")
def test_groups_that_come_and_go_under_load_leave_nothing(top: Path) -> None:
    cycles_leave_nothing(top, "cycle", repeated(2000, 100))


@pytest.mark.usefixtures("load")
def test_groups_for_each_of_which_the_programs_are_loaded_leave_nothing(top: Path) -> None:
    cycles_leave_nothing(top, "anew", repeated(30, 3))


@pytest.mark.long
@pytest.mark.timeout(9000)
@pytest.mark.usefixtures("load")
@pytest.mark.parametrize(("how", "n_cycles"), [("cycle", 10_000), ("anew", 200)])
def test_ten_thousand_groups_leave_nothing(top: Path, how: str, n_cycles: int) -> None:
    cycles_leave_nothing(top, how, n_cycles)


def killed_leaves_nothing(top: Path, calls: Calls, n_times: int, seed: int) -> None:
    file, rng = top / "root/file", random.Random(seed)
    before = census()
    assert calls.on_open(file) == 0
    with listener("listen", top / "root") as process:
        imported = until(process, "imported")
        setting_up_s = until(process, "listening") - imported
        assert census()["program"] > before["program"]
        assert calls.on_open(file) > 0
    wait_until(lambda: census() == before, "the first one leaves nothing")
    moments: dict[str, int] = {}
    slowest_s = 0.0
    for number in range(n_times):
        with listener("listen", top / "root") as process:
            is_set_up = bool(number % 2)
            until(process, "listening" if is_set_up else "imported")
            time.sleep(rng.uniform(0, LISTENING_S if is_set_up else setting_up_s))
            killed = time.monotonic()
            process.kill()
            process.wait()
            assert process.stdout is not None
            said = process.stdout.read().split()
        moment = "listening" if is_set_up else said[-1] if said else "setting up"
        moments[moment] = moments.get(moment, 0) + 1
        what = f"nothing is left (seed {seed}, time {number}, killed while {moment})"
        wait_until(lambda: census() == before and calls.on_open(file) == 0, what, GONE_S)
        slowest_s = max(slowest_s, time.monotonic() - killed)
    print(f"killed while {moments}; gone after at most {slowest_s:.2f} s")
    assert moments.keys() & {"setting up", "open"}, "it was never killed while it was setting up"


@pytest.mark.usefixtures("load")
def test_a_listener_killed_at_any_moment_leaves_nothing_attached_after_a_second(top: Path, calls: Calls) -> None:
    killed_leaves_nothing(top, calls, repeated(80, 8), 1)


@pytest.mark.long
@pytest.mark.timeout(9000)
@pytest.mark.usefixtures("load")
def test_a_listener_killed_hundreds_of_times_leaves_nothing(top: Path, calls: Calls) -> None:
    killed_leaves_nothing(top, calls, 300, 2)

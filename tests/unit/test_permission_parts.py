"""The parts of the permission engine that need no root: messages, deadlines, threads, the dead man's switch."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fanotify_fastpath
from fanotify_fastpath._engines.fanotify.permission import asks as asks_module
from fanotify_fastpath._engines.fanotify.permission.asks import Asks
from fanotify_fastpath._engines.fanotify.permission.kernel import AskingGroup
from fanotify_fastpath._engines.fanotify.permission.memory import Memory
from fanotify_fastpath._engines.fanotify.permission.protocol import Message, Unpacker, pack
from fanotify_fastpath._engines.fanotify.permission.refusals import refusal
from fanotify_fastpath._engines.fanotify.permission.subject import Subject
from fanotify_fastpath._engines.fanotify.permission.workers import Workers
from fanotify_fastpath.errors import (
    KernelRefused,
    NotPermitted,
    PathNotFound,
    UnsupportedFeature,
    UnsupportedFilesystem,
)
from fanotify_fastpath.mask import Mask

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers()),
    max_leaves=10,
)


@given(st.lists(st.tuples(st.text(), VALUES), max_size=5), st.integers(1, 50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[Message], size: int) -> None:
    stream = b"".join(pack(message) for message in messages)
    unpacker = Unpacker()
    out = [m for at in range(0, len(stream), size) for m in unpacker.feed(stream[at : at + size])]
    assert out == messages


class FakeGroup:
    def __init__(self) -> None:
        self.answers: list[tuple[int, bool, int]] = []

    def answer(self, fd: int, allow: bool, code: int = 0) -> None:
        self.answers.append((fd, allow, code))


def subject() -> Subject:
    return Subject(int(Mask.OPEN_PERM), None, b"/f", os.getpid(), frozenset(), is_dir=False)


def asking(timeout_s: float, allow_late: bool = True) -> tuple[Asks, FakeGroup, AskingGroup, list[Message]]:
    told: list[Message] = []
    group = FakeGroup()
    return Asks(timeout_s, allow_late, told.append), group, cast(AskingGroup, group), told


def test_an_answer_ends_the_waiting_and_a_late_one_is_nothing() -> None:
    asks, fake, group, told = asking(60)
    asks.add(group, 7, subject(), [3])
    (kind, ask_id, fields, to_ask, inside) = told[0]
    assert (kind, fields["path"], to_ask, inside) == ("ask", b"/f", [3], [])
    assert asks.next_s is not None
    asks.answer(ask_id, False, 5)
    asks.answer(ask_id, True, 0)
    assert fake.answers == [(7, False, 5)]
    asks.expire()
    assert fake.answers == [(7, False, 5)]


@pytest.mark.parametrize("allow_late", [True, False])
def test_who_waited_too_long_is_answered_and_told(allow_late: bool) -> None:
    asks, fake, group, told = asking(0.02, allow_late)
    asks.add(group, 7, subject(), [])
    asks.expire()
    assert fake.answers == []
    time.sleep(0.03)
    asks.expire()
    assert fake.answers == [(7, allow_late, 0)]
    assert (told[-1][0], told[-1][1]["undecided"]) == ("event", True)


def test_too_many_questions_at_once_are_answered_as_if_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks_module, "_MAX_ASKED", 2)
    asks, fake, group, _ = asking(60)
    for fd in range(3):
        asks.add(group, fd, subject(), [])
    assert fake.answers == [(2, True, 0)]
    asks.close()
    assert len(fake.answers) == 3


def test_objects_are_preferred_until_the_budget_is_spent() -> None:
    memory = Memory()
    taken = sum(memory.prefers_object() for _ in range(10_000))
    assert 4096 <= taken < 8000


def test_a_hung_job_does_not_hold_up_others() -> None:
    workers, go_on, done = Workers("test"), threading.Event(), threading.Event()
    for _ in range(5):
        workers.run(lambda: cast(None, go_on.wait(60)))
    workers.run(done.set)
    assert done.wait(5)
    go_on.set()
    workers.close(5)


def test_a_subject_knows_its_process() -> None:
    seen = subject()
    assert seen.uid == os.geteuid()
    assert seen.exe == os.fsencode(os.readlink("/proc/self/exe"))
    assert not seen.is_kernel_thread
    assert (seen.name, seen.dev, seen.inode) == (b"f", None, None)
    gone = Subject(int(Mask.OPEN_PERM), None, None, 0, None, is_dir=True)
    assert (gone.uid, gone.comm, gone.exe, gone.name, gone.is_kernel_thread) == (None, None, None, None, False)
    assert gone.fields(undecided=False)["undecided"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, NotPermitted),
        (95, UnsupportedFilesystem),
        (22, UnsupportedFeature),
        (116, PathNotFound),
        (12, KernelRefused),
    ],
)
def test_refusals_have_the_name_that_fits(code: int, kind: type[Exception]) -> None:
    error = refusal(code, "text", b"/some/where")
    assert type(error) is kind
    assert error.errno == code
    assert "/some/where" in str(error)


STOPS = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from fanotify_fastpath._engines.fanotify.permission.deadman import DeadMan
switch = DeadMan()
switch.arm(60)
switch.arm(0.3)
if sys.argv[2] == "stop":
    os.kill(os.getpid(), signal.SIGSTOP)
elif sys.argv[2] == "hang":
    while True:
        pass
switch.arm(0)
import time
time.sleep(0.5)
"""


@pytest.mark.parametrize(("how", "code"), [("stop", -signal.SIGKILL), ("hang", -signal.SIGKILL), ("disarm", 0)])
def test_the_switch_kills_who_stops_or_hangs(how: str, code: int) -> None:
    source = Path(fanotify_fastpath.__file__).parent.parent
    arguments: list[Any] = [sys.executable, "-c", STOPS, source, how]
    assert subprocess.run(arguments, timeout=20, check=False).returncode == code

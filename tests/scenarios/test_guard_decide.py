"""Asking the user: his function decides about each attempt, and may be late, wrong or stuck."""

import errno
import threading
from pathlib import Path

import pytest

import fanotify_fastpath as fan
from fanotify_fastpath import Event, guard

from . import actions
from .support import Other, denied_with, refusal, timed_read


def test_decide_is_asked_and_may_use_the_file(top: Path, other: Other) -> None:
    seen: list[tuple[str | None, bytes]] = []

    def decide(event: Event) -> bool:
        assert event.raw_path is not None
        seen.append((event.comm, Path(event.path or "").read_bytes()))
        return event.raw_path.endswith(b"deep/er/f")

    with guard(top / "in", decide=decide, timeout_s=5) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "EPERM"
        assert refusal(other, actions.read, top / "in/deep/er/f") == "ok"
        assert refusal(other, actions.read, top / "out/f") == "ok"
        assert [event.path for event in guarded.read(timeout_s=1)] == [str(top / "in/f")]
    assert [data for _, data in seen] == [b"content", b"content"]


def test_decide_may_choose_the_error(top: Path, other: Other) -> None:
    with guard(top / "in", decide=lambda _: fan.deny(errno.EBUSY), timeout_s=5):
        assert refusal(other, actions.read, top / "in/f") == denied_with(errno.EBUSY)


def test_a_decide_that_raises_leaves_it_undecided(top: Path, other: Other) -> None:
    def decide(event: Event) -> bool:
        raise RuntimeError("a bug")

    with guard(top / "in", decide=decide, timeout_s=5) as guarded:
        assert refusal(other, actions.read, top / "in/f") == "ok"
        assert [event.undecided for event in guarded.read(timeout_s=1)] == [True]


@pytest.mark.parametrize(("on_timeout", "expected"), [("allow", "ok"), ("deny", "EPERM")])
def test_a_decide_that_never_returns_delays_for_the_deadline_only(
    top: Path, other: Other, on_timeout: str, expected: str
) -> None:
    go_on = threading.Event()
    try:
        with guard(
            top / "in",
            decide=lambda _: go_on.wait(60),
            timeout_s=0.4,
            on_timeout=on_timeout,  # type: ignore[arg-type]
        ) as guarded:
            for _ in range(2):
                result, seconds = timed_read(other, top / "in/f")
                assert result == expected
                assert 0.3 < seconds < 1.0
                assert timed_read(other, top / "out/f")[0] == "ok"
            assert [event.undecided for event in guarded.read(timeout_s=1)] != []
    finally:
        go_on.set()

"""
Attempts to learn about others: whatever they do in private, nothing that the daemon says is another for it.

The same things are done in public twice, once with much going on in private as well; what the user is told by records,
answers, counters and errors must be the same. Where the private directory is not private, it must not be.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import Failed

from .attacking import attacker_of
from .client import Client, Heard, opened_as
from .support import OTHER_USER, USER, Daemon, Puppet
from .test_server import failed, open_up_new

pytestmark = pytest.mark.attack


class Other(Client):
    """Somebody else, who does things in a directory of their own."""

    def act_in_private(self, private: Path, n: int) -> None:
        for m in range(30):
            path = private / f"secret{n}-{m}"
            path.write_text("hidden")
            os.rename(path, private / f"renamed{n}-{m}")
            (private / f"directory{n}-{m}").mkdir()
        for m in range(30):
            (private / f"renamed{n}-{m}").unlink()
            (private / f"directory{n}-{m}").rmdir()
        (private / "deep" / "x").touch()
        (private / "deep" / "x").unlink()
        os.utime(private / "deep")


def public_acts(top: Path, n: int) -> list[Callable[[], object]]:
    """Each has one event, and is listened for alone: what the kernel merges would depend on the time."""
    one, other = top / f"known{n}", top / f"other{n}"
    return [one.mkdir, lambda: one.rename(other), other.rmdir]


def told(heard: list[Heard]) -> list[tuple[Any, ...]]:
    """All of a record but its numbers of processes and of what was lost in other runs; paths without the directory."""
    return [
        (h.mask, os.path.basename(h.path), os.path.basename(h.old_path), h.inside, h.old_inside, *h[5:]) for h in heard
    ]


def story(daemon: Daemon, top: Path, mode: int, *, with_private: bool) -> dict[str, Any]:
    """All that a user can learn of what goes on."""
    private = top / "private"
    (private / "deep").mkdir(parents=True)
    for path in (private, private / "deep"):
        os.chown(path, OTHER_USER, OTHER_USER)
    private.chmod(mode)
    with opened_as(daemon) as user, Puppet(lambda: Other(daemon.socket_path), OTHER_USER) as other:
        user.watch(top)
        records, counters = [], []
        for n in range(4):
            for act in public_acts(top, n):
                if with_private:
                    other.act_in_private(private, n)
                act()
                if with_private:
                    other.act_in_private(private, n + 10)
                records += told(user.hear())
            counters.append(user.sync())
        if with_private:
            other.act_in_private(private, 100)
            other.hello()
            other.open()
        (status,) = user.ask(messages.Status).groups
        user.ask(messages.Discard, set=0, root=1)
        os.rmdir(private / "deep")
        os.rmdir(private)
    return {
        "records": records,
        "counters": counters,
        "status": (status.n_sets, status.n_roots, status.n_marks, status.ring_bytes, status.counters),
    }


def test_what_goes_on_in_private_changes_nothing_that_is_told(daemon: Daemon, top: Path) -> None:
    quiet = story(daemon, top, 0o700, with_private=False)
    assert len(quiet["records"]) == 12
    busy = story(daemon, top, 0o700, with_private=True)
    for key, what in quiet.items():
        assert busy[key] == what, key
    shown = story(daemon, top, 0o755, with_private=True)
    for key, what in quiet.items():
        assert shown[key] != what, f"{key} tell of what is shown"


# --- by asking ---


def answers_about(user: Puppet, fds: list[int]) -> list[tuple[str, str]]:
    """What is answered to requests about objects: error and text."""
    answers: list[Failed] = []
    for n, fd in enumerate(fds):
        fields = {"set": 1, "root": 100 + n, "included": True, "path": b"/any"}
        answers.append(user.ask(messages.Include, fd, **fields))
        fields = {"mark": 100 + n, "mask": int(Mask.MODIFY), "path": b"/any"}
        answers.append(user.ask(messages.MarkObject, fd, **fields))
    return [(failed(answer), answer.message) for answer in answers]


def test_errors_tell_nothing_of_what_may_not_be_seen(daemon: Daemon, top: Path) -> None:
    """Whoever has got a descriptor of something hidden learns nothing from the daemon about it."""
    private = open_up_new(top / "private")
    (private / "empty").mkdir()
    (private / "full").mkdir()
    for n in range(100):
        (private / "full" / f"{n}").touch()
    names = ("empty", "full", "empty")
    for name in names:
        (private / name).chmod(0o700)
    fds = [os.open(private / name, os.O_RDONLY) for name in names]
    private.chmod(0)
    (private / "empty").rmdir()
    try:
        with opened_as(daemon) as user:
            user.watch(top)
            answers = answers_about(user, fds)
            assert {error for error, _ in answers} == {"NotPermitted"}
            # one text for directories, gone or not, however much is in them
            assert len(set(answers)) == 1
            assert not any(name in text for _, text in answers for name in (*names, "private"))
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_numbers_of_hidden_objects_are_not_told(daemon: Daemon, top: Path, mode: int) -> None:
    """Neither inode numbers nor names, anywhere in the ring's memory."""
    private = top / "private"
    private.mkdir(mode=mode)
    private.chmod(mode)
    with attacker_of(daemon) as user:
        user.watch(top, Mask.ALL_CHANGES | Mask.ONDIR)
        (private / "very-secret-name").touch()
        inode = (private / "very-secret-name").stat().st_ino
        os.rename(private / "very-secret-name", private / "another-secret-name")
        (top / "known").touch()
        assert "known" in {os.path.basename(each.path) for each in user.hear()}
        memory = user.ring_content()
        found = [b"secret-name" in memory, inode.to_bytes(8, "little") in memory]
        assert found == [mode == 0o755] * 2


def test_counters_for_users_are_of_their_own_events(daemon: Daemon, top: Path) -> None:
    private = top / "private"
    private.mkdir(mode=0o700)
    with opened_as(daemon) as user, opened_as(daemon, 0) as root:
        for each in (user, root):
            each.watch(top)
        for n in range(50):
            (private / f"{n}").touch()
        assert not any(user.sync().values())
        assert root.sync()["n_put"] >= 50
        (group,) = user.ask(messages.Status).groups
        assert group.uid == USER
        assert not any(group.counters.values())

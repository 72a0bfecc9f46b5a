"""Attacks by messages: of others' numbers, sent again, too many, with too many descriptors; and what denies."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from fanotify_fastpath._wire.messages import FDS_MAX, encode
from mounting import Mounter
from outcomes import wait_until

from .attacking import attacker_of, check_unharmed, held, innocent_of
from .client import opened_as
from .support import FOR_ALL, NAME, OTHER_USER, USER, Daemon, open_up
from .test_server import failed, open_up_new, paths

pytestmark = pytest.mark.attack

DENYING = [Mask.OPEN_PERM, Mask.ACCESS_PERM, Mask.OPEN_EXEC_PERM, Mask.CREATE | Mask.OPEN_PERM]
_CLASSES = 0xC  # FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT


# --- numbers ---


def test_the_numbers_of_others_are_not_ones_own(daemon: Daemon, top: Path) -> None:
    """Each request that takes something away, as its owner would make it."""
    takes: list[messages.Request] = [
        messages.Unmark(11, 1),
        messages.Discard(12, 0, 1),
        messages.Ask(13, []),
        messages.Mark(14, 1, int(Mask.DELETE), 0),
    ]
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        attacker.hello()
        attacker.open()
        answers = attacker.send_packets([encode(request) for request in takes])
        assert [failed(answers[0]), *map(type, answers[1:])] == ["InvalidArgument", *[messages.Done] * 3]
        check_unharmed(daemon, innocent, top, [])
        # the owner's own word counts
        assert isinstance(innocent.ask(messages.Unmark, mark=1), messages.Done)
        innocent.make_files(top, 1)
        assert innocent.hear() == []


def test_what_was_said_again_changes_nothing(daemon: Daemon, top: Path) -> None:
    said: list[messages.Request] = [
        messages.Hello(1, messages.VERSION, "x"),
        messages.Open(2, True, True, False, True, 1 << 16),
    ]
    said += [messages.Mark(3, 1, int(Mask.CREATE), 0)]
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        packets = [encode(request) for request in said]
        before = attacker.send_packets(packets)
        assert [type(answer) for answer in before] == [messages.Welcome, messages.Opened, messages.Done]
        n_groups = daemon.n_groups()
        for _ in range(20):
            assert [failed(answer) for answer in attacker.send_packets(packets)] == ["InvalidArgument"] * 3
        assert daemon.n_groups() == n_groups
        (status,) = attacker.ask(messages.Status).groups
        assert (status.n_sets, status.n_roots, status.n_marks) == (1, 0, 1)
        # an id is the client's own affair: it stands in the answer, and nowhere else
        syncs = attacker.send_packets([encode(messages.Sync(2**63 - 1))] * 2)
        assert [answer.id for answer in syncs] == [2**63 - 1] * 2
        check_unharmed(daemon, innocent, top, [])


def test_groups_of_others_are_not_asked_about(daemon: Daemon, top: Path) -> None:
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        attacker.watch(top)
        for after in (0, 1, 2, 3):
            found = attacker.ask(messages.Status, after=after).groups
            assert {group.uid for group in found} <= {USER}
        with opened_as(daemon, 0) as root:
            root.hello()
            assert {group.uid for group in root.ask(messages.Status).groups} == {USER, OTHER_USER}
        check_unharmed(daemon, innocent, top, [])


# --- too much ---


def test_floods_of_descriptors_do_not_fill_the_daemon(daemon: Daemon, top: Path) -> None:
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        attacker.hello()
        before = held(daemon)
        for n_fds in (FDS_MAX, 253):
            n_sent, _ = attacker.flood_with_descriptors(500, n_fds)
            assert n_sent > (2 if n_fds == FDS_MAX else 0)
            innocent.make_files(top, 20, f"{n_fds}-")
            assert len(innocent.hear()) == 20
            assert held(daemon).total() < before.total() + 2 * 253
            attacker.hang_up()
            attacker.connect()
            attacker.hello()
        wait_until(lambda: held(daemon) == before, "they are closed")
        check_unharmed(daemon, innocent, top, [])


def test_thousands_of_requests_roots_and_marks_starve_nobody(start: Callable[..., Daemon], top: Path) -> None:
    daemon = start(
        FOR_ALL + "[limits]\nrequests_per_second = 100000\nrequests_burst = 100000\nroots_per_group = 1024\n"
    )
    for n in range(20):
        open_up_new(top / f"{n}")
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        attacker.watch(top / "0", Mask.ALL_EVENTS | Mask.ONDIR)
        attacker.begin("take_all", [top / f"{n}" for n in range(20)])
        made = []
        for n in range(20):
            innocent.make_files(top, 20, f"{n}-")
            made += [f"{n}-{m}" for m in range(20)]
            assert innocent.ask_many(1) == ["Statuses"]
        reached = attacker.finish()
        assert reached == {"roots": 1024, "sets": 64, "marks": 64}
        check_unharmed(daemon, innocent, top, made)


def test_thousands_of_mounts_starve_nobody(daemon: Daemon, top: Path, mounts: Mounter) -> None:
    """An ordinary user mounts in a namespace of its own only, of which the daemon is told nothing; here root does."""
    below = open_up_new(top / "below")
    with innocent_of(daemon, top) as innocent, attacker_of(daemon) as attacker:
        attacker.watch(below)
        made = []
        for n in range(150):
            mounts.mount(open_up_new(below / f"{n}"), "-t", "tmpfs", "fp-tmpfs")
            made.append(f"file{n}")
            (top / made[-1]).touch()
        told = paths([each for each in innocent.hear() if not each.is_told], Mask.CREATE, top)
        assert [path for path in told if path.startswith("file")] == made
        for n in range(150):
            mounts.umount(below / f"{n}")
        check_unharmed(daemon, innocent, top)


# --- denying ---


@pytest.mark.parametrize("uid", [USER, 0])
def test_nothing_can_be_denied(daemon: Daemon, top: Path, uid: int) -> None:
    with attacker_of(daemon, uid) as attacker:
        attacker.watch(top)
        for n, mask in enumerate(DENYING, 10):
            assert failed(attacker.mark(n, mask, 0)) in ("NotPermitted", "InvalidArgument")
            assert failed(attacker.mark_object(n, mask, top)) in ("NotPermitted", "InvalidArgument")
        # it is the event type that is refused
        assert isinstance(attacker.mark(20, Mask.CREATE, 0), messages.Done)
        assert isinstance(attacker.mark_object(21, Mask.CREATE, top), messages.Done)
        if NAME == "fanotify":
            assert group_classes(daemon) == {0}, "and no group of the daemon could"


def group_classes(daemon: Daemon) -> set[int]:
    """Of all fanotify groups of the daemon: the class, which is 0 for those that can deny nothing."""
    fds = [fd for fd, what in daemon.descriptors().items() if what == "anon_inode:[fanotify]"]
    texts = [Path(f"/proc/{daemon.pid}/fdinfo/{fd}").read_text() for fd in fds]
    flags = [int(found[1], 16) for text in texts if (found := re.search(r"^fanotify flags:(\w+)", text, re.MULTILINE))]
    assert flags
    return {each & _CLASSES for each in flags}


def test_a_daemon_that_is_stopped_holds_nobody_up(daemon: Daemon, top: Path) -> None:
    """What it could deny, it could hold up: here nothing waits for it."""
    with innocent_of(daemon, top) as innocent:
        daemon.process.send_signal(19)
        (top / "file").write_text("content")
        assert (top / "file").read_text() == "content"
        open_up(top / "file", 0o600)
        daemon.process.send_signal(18)
        check_unharmed(daemon, innocent, top, ["file"])

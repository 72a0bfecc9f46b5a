"""The server's parts that need no daemon: records, departures, promises, lines of the log, the listening socket."""

import logging
import os
import socket
from pathlib import Path

import pytest

from fake_ring import batch_of
from fanotify_fastpath import Event, Mask, Process
from fanotify_fastpath._bpf._abi import FpFlag, FpKind
from fanotify_fastpath._bpf.ring import Record
from fanotify_fastpath._daemon import logs
from fanotify_fastpath._daemon.departures import Departures
from fanotify_fastpath._daemon.descriptors import PER_CONNECTION, PER_GROUP, Descriptors
from fanotify_fastpath._daemon.listening import listen
from fanotify_fastpath._daemon.main import main
from fanotify_fastpath._daemon.records import Records
from fanotify_fastpath._engines.common.viewer import Seen
from fanotify_fastpath._wire.told import Told, told_by
from fanotify_fastpath.cli.exits import Exit
from fanotify_fastpath.errors import InvalidArgument, KernelRefused, LimitReached

UNKNOWN = (1 << 32) - 1


def record_of(event: Event, n_dropped: int = 0) -> Record:
    return batch_of(Records(lambda: {7: 3, 8: 255}).of_event(event, n_dropped))[0]


# --- records ---


def test_a_record_says_what_the_event_does() -> None:
    event = Event(
        Mask.RENAME,
        b"/srv/new",
        b"/srv/old",
        is_dir=True,
        tgid=4,
        tid=5,
        process=Process(1000, "a-very-long-name-of-it"),
        dev=os.makedev(8, 300),
        inode=1 << 40,
        time_ns=99,
    )
    path, old_path, fields = record_of(Seen(event, frozenset({7, 8}), frozenset({7, 1000})), n_dropped=6)
    assert (path, old_path) == (b"/srv/new", b"/srv/old")
    assert (fields.kind, fields.mask) == (FpKind.EVENT, int(Mask.RENAME | Mask.ONDIR))
    assert int.from_bytes(fields.inside, "little") == 1 << 3 | 1 << 255
    assert int.from_bytes(fields.old_inside, "little") == 1 << 3
    assert (fields.tgid, fields.tid, fields.uid, fields.comm) == (4, 5, 1000, b"a-very-long-nam\0")
    assert (fields.dev, fields.inode) == (8 << 20 | 300, 1 << 40)
    assert (fields.boot_ns, fields.n_dropped, fields.flags) == (99, 6, 0)


def test_what_is_unknown_or_hidden_is_said_to_be() -> None:
    path, old_path, fields = record_of(Seen(Event(Mask.OPEN, None, undecided=True)))
    assert (path, old_path) == (b"", b"")
    assert (fields.tgid, fields.tid, fields.uid, fields.gid, fields.comm) == (0, 0, UNKNOWN, UNKNOWN, bytes(16))
    assert (fields.dev, fields.inode, fields.flags) == (0, 0, FpFlag.UNDECIDED)


def test_the_root_directory_is_no_unknown_path() -> None:
    assert record_of(Seen(Event(Mask.OPEN, b"/"))).path == b"//"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (b"/" + b"x" * 4095, b"/" + b"x" * 4095),
        (b"/first/" + b"x" * 4090, b"x" * 4090),
        (b"/f" + b"/" + b"x" * 4095, b"x" * 4095),
        (b"/f/s/" + b"x" * 4092, b"s/" + b"x" * 4092),
    ],
)
def test_a_path_too_long_lacks_whole_names_at_its_beginning(path: bytes, told: bytes) -> None:
    for event in (Event(Mask.CREATE, path), Event(Mask.RENAME, b"/short", path)):
        record = record_of(Seen(event))
        assert told in (record.path, record.old_path)
        assert bool(record.fields.flags & FpFlag.TRUNCATED) == (told != path)


@pytest.mark.parametrize("mask", [Mask.Q_OVERFLOW, Mask.RESCAN, Mask.ROOT_GONE, Mask.UNMOUNT, Mask.UNWATCHED])
@pytest.mark.parametrize("lost", [0, 5, None])
def test_what_is_said_about_the_stream_comes_back(mask: Mask, lost: int | None) -> None:
    record = record_of(Event(mask, b"/srv", lost=lost))
    assert (record.fields.kind, record.path, told_by(record.fields)) == (FpKind.TOLD, b"/srv", Told(mask, lost))


# --- departures ---

GONE_A, GONE_B = Event(Mask.ROOT_GONE, b"/a"), Event(Mask.ROOT_GONE, b"/b")
OTHER = Event(Mask.CREATE, b"/a/x")


def departures(**gone: bytes) -> Departures:
    found = Departures()
    found.add({int(number[1:]): path for number, path in gone.items()})
    found.begin()
    return found


def test_a_root_is_named_before_the_event_that_it_is_gone() -> None:
    found = departures(r1=b"/a", r2=b"/b", r3=b"/a")
    assert found.place([OTHER, GONE_B, OTHER, GONE_A], is_all=True) == {1: [2], 3: [1, 3]}
    assert not found


def test_a_root_whose_event_is_still_to_come_waits_for_it() -> None:
    found = departures(r1=b"/a")
    assert found.place([OTHER], is_all=False) == {}
    assert found
    found.begin()
    assert found.place([GONE_A], is_all=True) == {0: [1]}


def test_a_root_of_another_name_goes_with_the_last_event() -> None:
    found = departures(r1=b"/moved", r2=b"/b")
    assert found.place([GONE_A, GONE_B, OTHER], is_all=True) == {0: [], 1: [2, 1]}


def test_a_root_without_an_event_is_owed() -> None:
    found = departures(r1=b"/a")
    assert found.place([OTHER], is_all=True) == {}
    assert list(found.owed) == [1]


def test_a_root_that_went_while_events_were_read_waits_for_the_next_ones() -> None:
    found = Departures()
    found.begin()
    found.add({1: b"/a"})
    assert found.place([OTHER], is_all=True) == {}
    assert not found.owed
    found.begin()
    assert found.place([], is_all=True) == {}
    assert list(found.owed) == [1]


# --- promises ---


def test_descriptors_are_promised_up_to_three_quarters() -> None:
    descriptors = Descriptors(4 * (PER_CONNECTION + PER_GROUP) // 3 + 8)
    assert descriptors.n_groups_max == 1
    descriptors.take(1, 1)
    with pytest.raises(LimitReached, match="LimitNOFILE"):
        descriptors.take(0, 1)
    descriptors.take(-1, -1)
    descriptors.take(1, 1)


def test_kernel_groups_are_promised_two_for_each() -> None:
    descriptors = Descriptors(1 << 20, n_kernel_groups=8)
    assert descriptors.n_groups_max == 3
    descriptors.take(5, 3)
    with pytest.raises(LimitReached, match="max_user_groups"):
        descriptors.take(0, 1)
    descriptors.take(1, 0)


# --- lines of the log ---


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(logs, "_rate", logs._Rate())
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    return capfd


def test_a_line_is_one_line_whatever_is_in_it(written: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info")
    logs.log(logging.INFO, "opened\n<0>", path=b"/a\nb\xff", comm='x" y', error=ValueError("\x1b[31m"))
    (line,) = written.readouterr().err.splitlines()
    assert line.endswith(r'info opened\n<0> path="/a\nb\udcff" comm="x\" y" error="\u001b[31m"')


def test_the_journal_is_told_priorities(written: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    logs.set_up("debug")
    logs.log(logging.WARNING, "beware", n=1)
    logs.log(logging.DEBUG, "detail")
    assert written.readouterr().err.splitlines() == ["<4>beware n=1", "<7>detail"]


def test_the_journal_is_told_priorities_of_what_prevents_a_start(
    written: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    assert main(["--config", "/missing"]) == Exit.FAILURE
    assert written.readouterr().err == "<3>fanfpd: the configuration /missing does not exist\n"


def test_what_clients_bring_about_is_logged_at_a_bounded_rate(written: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info")
    for n in range(1000):
        logs.log_bounded(logging.WARNING, "again", n=n)
    assert 50 <= len(written.readouterr().err.splitlines()) < 60


def test_an_unforeseen_error_is_logged_with_the_way_to_it(written: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info")
    try:
        raise RuntimeError("no")
    except RuntimeError as exc:
        logs.log_failure("it failed", exc, uid=5)
    (line,) = written.readouterr().err.splitlines()
    assert 'error it failed uid=5 error="RuntimeError: no" at="test_parts.py:' in line


# --- the listening socket ---


def test_a_directory_is_made_for_the_socket_that_all_can_enter(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        with listen(os.fspath(tmp_path / "run" / "socket"), 0o666, os.getgid()) as listener:
            assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755
            assert os.stat(listener.path).st_mode & 0o777 == 0o666
    finally:
        os.umask(old)
    assert not os.path.exists(listener.path)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot listen"):
        listen(os.fspath(tmp_path / ("x" * 120)), 0o666, os.getgid())


def test_a_link_in_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "socket.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KernelRefused):
        listen(os.fspath(tmp_path / "socket"), 0o666, os.getgid())
    assert not (tmp_path / "elsewhere").exists()


def test_a_socket_of_another_kind_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from fanotify_fastpath._daemon import activation

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as given:
        monkeypatch.setattr(activation, "LISTEN_FDS_START", os.dup(given.fileno()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        with pytest.raises(InvalidArgument, match="ListenSequentialPacket"):
            activation.take_socket()
    assert "LISTEN_FDS" not in os.environ

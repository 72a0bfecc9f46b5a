"""Who is at the other end: as the kernel tells it."""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from children import fork
from fanotify_fastpath._daemon import peer as module
from fanotify_fastpath._daemon.peer import Credentials, Peer, peer_groups

need_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
UID, GID = 12345, 23456


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind("")  # a name of the kernel's choice, in no directory
        listening.listen()
        yield listening


@contextmanager
def connected(listener: socket.socket, become: Callable[[], None]) -> Iterator[tuple[int, socket.socket]]:
    """A child that has become somebody, connected, and waits; its id and our end."""
    child = fork()
    if child == 0:
        try:
            become()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.connect(listener.getsockname())
                signal.pause()
        finally:
            os._exit(1)
    try:
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            yield child, connection
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # the test may have ended it
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def somebody(groups: tuple[int, ...] = ()) -> Callable[[], None]:
    def become() -> None:
        os.setgroups(groups)
        os.setresgid(GID, GID, GID)
        os.setresuid(UID, UID, UID)

    return become


def test_this_process() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, Peer.of(ours) as peer:
        assert peer.credentials == Credentials(os.geteuid(), os.getegid(), tuple(os.getgroups()))
        assert peer.tgid == os.getpid()
        assert peer.is_alive()
        with open("/proc/self/comm") as file:
            assert peer.comm == file.read().rstrip("\n")


@need_root
@pytest.mark.parametrize("n_groups", [0, 1, 64, 65, 256, 257, 2000, 65536])
def test_user_and_groups_as_many_as_there_are(listener: socket.socket, n_groups: int) -> None:
    groups = tuple(range(100_000, 100_000 + n_groups))
    with connected(listener, somebody(groups)) as (tgid, connection), Peer.of(connection) as peer:
        assert peer.credentials == Credentials(UID, GID, groups)
        assert peer.uid == UID
        assert peer.tgid == tgid
        assert peer.credentials.all_gids == {GID, *groups}


def test_the_process_that_ends_is_seen_to_end(listener: socket.socket) -> None:
    with connected(listener, lambda: None) as (tgid, connection), Peer.of(connection) as peer:
        assert peer.pidfd is not None
        assert not os.get_inheritable(peer.pidfd)
        assert peer.is_alive()
        os.kill(tgid, signal.SIGKILL)
        assert select.select([peer.pidfd], [], [], 10)[0]
        assert not peer.is_alive()


def test_closing_closes_the_descriptor_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        peer = Peer.of(ours)
        pidfd = peer.pidfd
        assert pidfd is not None
        peer.close()
        peer.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pidfd)


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no SO_PEERPIDFD: a number that is no option."""
    monkeypatch.setattr(module, "_SO_PEERPIDFD", 9999)


def test_before_linux_6_5_the_process_is_opened_by_its_number(listener: socket.socket, old_kernel: None) -> None:
    with connected(listener, lambda: None) as (tgid, connection), Peer.of(connection) as peer:
        assert peer.pidfd is not None
        os.kill(tgid, signal.SIGKILL)
        assert select.select([peer.pidfd], [], [], 10)[0]


@need_root
def test_there_a_process_of_another_user_is_not_taken_for_it(
    listener: socket.socket, old_kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_effective_uid", lambda tgid: 54321)
    with connected(listener, somebody()) as (_, connection), Peer.of(connection) as peer:
        assert peer.pidfd is None
        assert peer.is_alive()


def test_there_a_process_that_is_gone_has_no_descriptor(listener: socket.socket, old_kernel: None) -> None:
    with connected(listener, lambda: None) as (tgid, connection):
        os.kill(tgid, signal.SIGKILL)
        os.waitpid(tgid, 0)
        with Peer.of(connection) as peer:
            assert peer.pidfd is None
            assert not peer.is_alive()
            assert peer.comm == ""


def test_what_is_no_unix_socket_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as inet, pytest.raises(OSError, match="No data available"):
        peer_groups(inet)

"""Connections between client and daemon: packets with descriptors, ends, deadlines, and what is no message."""

import array
import fcntl
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from fanotify_fastpath._wire.addresses import SOCKET_PATH, SOCKET_VARIABLE, connect, socket_path
from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.messages import (
    FDS_MAX,
    MESSAGE_MAX_BYTES,
    Answer,
    Done,
    Failed,
    Gone,
    Include,
    Opened,
    Request,
    Sync,
    decode_request,
    encode,
)
from fanotify_fastpath.errors import (
    Closed,
    FastpathError,
    InvalidArgument,
    KernelRefused,
    ProtocolError,
    UnsupportedFeature,
)
from wire_samples import ANSWERS, REQUESTS, connected, n_descriptors

Ends = tuple[Channel[Answer], Channel[Request]]
INCLUDE = Include(3, set=0, root=1, included=True, path=b"/srv")


@pytest.fixture
def ends(no_leaks: None) -> Iterator[Ends]:
    with connected() as both:
        yield both


@pytest.fixture
def raw(no_leaks: None) -> Iterator[tuple[socket.socket, Channel[Request]]]:
    """A client that sends what it likes, and the daemon's end."""
    client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with client, Channel(server, decode_request) as daemon:
        yield client, daemon


def send_raw(client: socket.socket, packet: bytes, n_fds: int) -> None:
    """Send a packet with so many descriptors, all of one file."""
    with open("/dev/null", "rb") as file:
        fds = array.array("i", [file.fileno()] * n_fds)
        client.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if n_fds else [])


def test_messages_come_in_order_each_with_its_descriptors(ends: Ends) -> None:
    client, daemon = ends
    read_fd, write_fd = os.pipe()
    try:
        for message in REQUESTS:
            client.send(message, [read_fd] * message.n_fds)
        for expected in REQUESTS:
            received = daemon.receive(0)
            assert received is not None
            assert (received.message, len(received.fds)) == (expected, expected.n_fds)
            for fd in received.fds:
                assert os.fstat(fd).st_ino == os.fstat(read_fd).st_ino
                assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
                os.close(fd)
        for answer in ANSWERS:
            daemon.send(answer, [read_fd, write_fd][: answer.n_fds])
        for expected_answer in ANSWERS:
            came = client.receive(0)
            assert came is not None
            assert came.message == expected_answer
            assert [os.readlink(f"/proc/self/fd/{fd}") for fd in came.fds] == [
                os.readlink(f"/proc/self/fd/{fd}") for fd in [read_fd, write_fd][: expected_answer.n_fds]
            ]
            for fd in came.fds:
                os.close(fd)
    finally:
        os.close(read_fd)
        os.close(write_fd)


def test_who_waits_for_a_message_gets_it(ends: Ends) -> None:
    client, daemon = ends
    came: list[object] = []
    thread = threading.Thread(target=lambda: came.append(daemon.receive()))
    thread.start()
    client.send(Sync(1))
    thread.join(10)
    assert came == [(Sync(1), ())]


@pytest.mark.parametrize("timeout_s", [0, 0.01, -1])
def test_a_deadline_passes(ends: Ends, timeout_s: float) -> None:
    with pytest.raises(TimeoutError, match="no message came"):
        ends[1].receive(timeout_s)


def test_one_who_does_not_read_is_not_waited_for_for_ever(ends: Ends) -> None:
    client, daemon = ends
    n_sent = 0

    def send_many() -> None:
        nonlocal n_sent
        while n_sent < 100_000:
            daemon.send(Gone(0, "x" * 4000), timeout_s=0.01)
            n_sent += 1

    with pytest.raises(TimeoutError, match="does not read"):
        send_many()
    for _ in range(n_sent):
        assert client.receive(0) == (Gone(0, "x" * 4000), ())
    with pytest.raises(TimeoutError):
        client.receive(0)
    daemon.send(Done(1), timeout_s=0)
    assert client.receive(0) == (Done(1), ())


def test_what_waits_for_room_is_sent_when_there_is_some(ends: Ends) -> None:
    client, daemon = ends
    total = 500

    def send_all() -> None:
        for n in range(total):
            daemon.send(Gone(0, f"{n}" + "x" * 4000))

    thread = threading.Thread(target=send_all)
    thread.start()
    for n in range(total):
        assert client.receive(20) == (Gone(0, f"{n}" + "x" * 4000), ())
    thread.join(10)
    assert not thread.is_alive()


def test_the_end_is_told_after_all_that_was_sent(ends: Ends) -> None:
    client, daemon = ends
    client.send(Sync(1))
    client.close()
    assert daemon.receive() == (Sync(1), ())
    assert daemon.receive() is None
    assert daemon.receive(0) is None
    with pytest.raises(ConnectionError):
        daemon.send(Done(1))


def test_last_words_are_heard_by_one_whose_own_were_not_read(ends: Ends) -> None:
    client, daemon = ends
    client.send(Sync(1))
    last = Failed(0, "ProtocolError", 71, "a packet of 3 bytes is no message")
    daemon.send(last)
    daemon.close()
    assert client.receive() == (last, ())
    assert client.receive() is None


def test_shutdown_wakes_one_who_waits(ends: Ends) -> None:
    client, daemon = ends
    came: list[object] = []
    thread = threading.Thread(target=lambda: came.append(daemon.receive()))
    thread.start()
    daemon.shutdown()
    thread.join(10)
    assert came == [None]
    assert client.receive(0) is None
    daemon.shutdown()
    daemon.close()
    daemon.shutdown()


def test_a_closed_channel_says_so(ends: Ends) -> None:
    _, daemon = ends
    daemon.close()
    daemon.close()
    for use in (daemon.fileno, daemon.receive, lambda: daemon.send(Done(1))):
        with pytest.raises(Closed):
            use()


def test_fileno_is_readable_when_there_is_a_message_or_the_end(ends: Ends) -> None:
    client, daemon = ends
    poll = select.poll()
    poll.register(daemon.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    client.send(Sync(1))
    assert poll.poll(0)
    daemon.receive(0)
    assert poll.poll(0) == []
    client.close()
    assert poll.poll(0)


@pytest.mark.parametrize(
    ("message", "n_fds"),
    [(INCLUDE, 0), (INCLUDE, 2), (Sync(1), 1), (Opened(1, "fanotify", "memory", 1 << 16), 1)],
)
def test_other_descriptors_than_belong_to_a_message_are_not_sent(
    ends: Ends, message: Request | Answer, n_fds: int
) -> None:
    with pytest.raises(InvalidArgument, match="descriptors"):
        ends[0].send(message, [0] * n_fds)
    with pytest.raises(TimeoutError):
        ends[1].receive(0)


@pytest.mark.parametrize("n_fds", [1, 2, FDS_MAX])
def test_descriptors_that_nobody_asked_for_are_closed(raw: tuple[socket.socket, Channel[Request]], n_fds: int) -> None:
    client, daemon = raw
    before = n_descriptors()
    send_raw(client, encode(Sync(1)), n_fds)
    assert daemon.receive(0) == (Sync(1), ())
    assert n_descriptors() == before
    send_raw(client, encode(INCLUDE), n_fds)
    received = daemon.receive(0)
    assert received is not None
    assert len(received.fds) == 1
    assert n_descriptors() == before + 1
    os.close(received.fds[0])


REFUSED = [
    pytest.param(encode(INCLUDE), 0, "with 0 descriptors", id="a descriptor is missing"),
    pytest.param(encode(Sync(1)), FDS_MAX + 1, "more than 64 descriptors", id="too many descriptors"),
    pytest.param(encode(Sync(1)), 253, "more than 64 descriptors", id="as many as the kernel passes"),
    pytest.param(b"\xc1", 3, "no message", id="no message"),
    pytest.param(encode(Sync(1)) + bytes(MESSAGE_MAX_BYTES), 3, "more than 65536 bytes", id="too long"),
    pytest.param(bytes(MESSAGE_MAX_BYTES), 3, "no message", id="as long as can be"),
]


@pytest.mark.parametrize(("packet", "n_fds", "why"), REFUSED)
def test_what_is_no_message_is_refused_and_leaves_no_descriptor(
    raw: tuple[socket.socket, Channel[Request]], packet: bytes, n_fds: int, why: str
) -> None:
    client, daemon = raw
    before = n_descriptors()
    send_raw(client, packet, n_fds)
    with pytest.raises(ProtocolError, match=why):
        daemon.receive(0)
    assert n_descriptors() == before
    send_raw(client, encode(Sync(2)), 0)
    assert daemon.receive(0) == (Sync(2), ())


@pytest.mark.parametrize("n_fds", [0, 1, FDS_MAX])
def test_an_empty_packet_is_an_end(raw: tuple[socket.socket, Channel[Request]], n_fds: int) -> None:
    client, daemon = raw
    before = n_descriptors()
    send_raw(client, b"", n_fds)
    assert daemon.receive(0) is None
    assert n_descriptors() == before


def test_where_the_daemon_is_can_be_said_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    assert socket_path() == SOCKET_PATH
    monkeypatch.setenv(SOCKET_VARIABLE, "")
    assert socket_path() == SOCKET_PATH
    monkeypatch.setenv(SOCKET_VARIABLE, "/other")
    assert socket_path() == "/other"


@pytest.fixture
def listener(no_leaks: None, tmp_path: "os.PathLike[str]", monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = os.path.join(tmp_path, "socket")
    monkeypatch.setenv(SOCKET_VARIABLE, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        yield listening


def test_a_client_connects(listener: socket.socket) -> None:
    listener.listen(1)
    with connect() as client, listener.accept()[0] as server:
        client.send(b"hello")
        assert server.recv(10) == b"hello"
        assert not os.get_inheritable(client.fileno())


def test_a_daemon_with_too_many_callers_is_not_waited_for_for_ever(listener: socket.socket) -> None:
    listener.listen(0)
    with connect(), pytest.raises(KernelRefused, match="too many are connecting"):
        connect(timeout_s=0.05)


def test_a_caller_waits_for_its_turn(listener: socket.socket) -> None:
    listener.listen(0)
    with connect():
        accepted: list[socket.socket] = []
        timer = threading.Timer(0.1, lambda: accepted.append(listener.accept()[0]))
        timer.start()
        with connect(timeout_s=20):
            timer.join()
        accepted[0].close()


def test_a_socket_on_which_nobody_listens_is_no_daemon(listener: socket.socket) -> None:
    with pytest.raises(UnsupportedFeature, match="no daemon is there"):
        connect()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/nonexistent/socket", UnsupportedFeature),
        ("/dev/null/socket", UnsupportedFeature),
        ("/dev/null", UnsupportedFeature),
        ("/" + "x" * 200, InvalidArgument),
    ],
)
def test_where_no_daemon_can_be_is_told(no_leaks: None, path: str, kind: type[FastpathError]) -> None:
    with pytest.raises(kind, match="cannot connect to fanfpd at"):
        connect(path)


def test_a_socket_of_another_type_is_no_daemon(no_leaks: None, tmp_path: "os.PathLike[str]") -> None:
    path = os.path.join(tmp_path, "stream")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(path)
        other.listen(1)
        with pytest.raises(KernelRefused, match="Protocol wrong type"):
            connect(path)

"""Who did it: process ids, thread ids, pidfds (LTP fanotify11, 20, 21)."""

import os
import signal
import threading
from pathlib import Path

import pytest

from children import fork, wait_for
from fanotify_fastpath.lowlevel import NOPIDFD, FanotifyFile, InitFlag, Mask
from mounting import Mounter
from outcomes import errno_of

from .support import ADD, drain, listen, new_file, touch

PIDFD = InitFlag.REPORT_PIDFD


def touch_in_thread(path: Path) -> int:
    tids: list[int] = []

    def work() -> None:
        tids.append(threading.get_native_id())
        touch(path)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return tids[0]


def touch_in_child(path: Path) -> int:
    pid = fork()
    if pid == 0:
        touch(path)
        os._exit(0)
    wait_for(pid)
    return pid


@pytest.mark.parametrize("mode", [InitFlag(0), InitFlag.REPORT_DFID_NAME])
def test_an_event_has_the_process_or_on_request_the_thread(ext4: Path, mode: InitFlag) -> None:
    path = new_file(ext4)
    with listen(mode) as by_process, listen(mode | InitFlag.REPORT_TID) as by_thread:
        for group in (by_process, by_thread):
            group.mark(ADD, Mask.OPEN, path)
        tid = touch_in_thread(path)
        assert tid != os.getpid()
        assert [event.record.pid for event in drain(by_process)] == [os.getpid()]
        assert [event.record.pid for event in drain(by_thread)] == [tid]


def test_an_event_of_a_child_has_its_process_id(ext4: Path) -> None:
    path = new_file(ext4)
    with listen() as group:
        group.mark(ADD, Mask.OPEN, path)
        pid = touch_in_child(path)
        assert [event.record.pid for event in drain(group)] == [pid]


def pid_of(pidfd: int) -> int:
    fields = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines())
    return int(fields["Pid"])


@pytest.mark.parametrize("mode", [InitFlag(0), InitFlag.REPORT_FID, InitFlag.REPORT_DFID_NAME_TARGET])
def test_a_pidfd_refers_to_the_process_that_did_it(ext4: Path, mode: InitFlag) -> None:
    path = new_file(ext4)
    with listen(PIDFD | mode) as group:
        group.mark(ADD, Mask.OPEN, path)
        touch_in_thread(path)
        (event,) = group.read_events()
        assert event.pidfd is not None
        assert pid_of(event.pidfd) == event.pid == os.getpid()
        assert not os.get_inheritable(event.pidfd)
        signal.pidfd_send_signal(event.pidfd, 0)
        os.close(event.pidfd)
        if event.fd >= 0:
            os.close(event.fd)


def test_a_process_that_has_ended_has_no_pidfd_but_its_number(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(PIDFD) as group:
        group.mark(ADD, Mask.OPEN, path)
        pid = touch_in_child(path)
        (event,) = drain(group)
        assert (event.record.pid, event.record.pidfd) == (pid, NOPIDFD)


def test_a_process_that_has_ended_is_esrch_in_a_group_that_reports_errors(ext4: Path) -> None:
    path = new_file(ext4)
    with listen(PIDFD | InitFlag.REPORT_FD_ERROR) as group:
        group.mark(ADD, Mask.OPEN, path)
        touch_in_child(path)
        (event,) = drain(group)
        assert event.record.pidfd is not None
        assert os.strerror(-event.record.pidfd) == "No such process"


def test_a_pidfd_of_a_zombie_is_ready(ext4: Path) -> None:
    path = new_file(ext4)
    reader, writer = os.pipe()
    with listen(PIDFD) as group:
        group.mark(ADD, Mask.OPEN, path)
        pid = fork()
        if pid == 0:
            touch(path)
            os.close(writer)
            os.read(reader, 1)
            os._exit(7)
        os.close(reader)
        while not (events := group.read_events()):
            pass
        (event,) = events
        assert event.pidfd is not None
        os.close(event.fd)
        os.close(writer)
        result = os.waitid(os.P_PIDFD, event.pidfd, os.WEXITED)
        assert result is not None
        assert result.si_status == 7
        os.close(event.pidfd)


# --- descriptors that cannot be made -----------------------------------------------------------------------------


@pytest.fixture
def unopenable(ext4: Path, mounts: Mounter) -> Path:
    """A file that can be read but not opened as an event's descriptor with O_RDWR."""
    new_file(ext4)
    where = mounts.bind(ext4)
    return mounts.remount_read_only(where) / "file"


def read_write_group(flags: InitFlag) -> FanotifyFile:
    listen(flags).close()  # skips when the kernel does not know them
    return FanotifyFile.open(InitFlag.CLOEXEC | InitFlag.NONBLOCK | flags, os.O_RDWR | os.O_CLOEXEC)


def test_an_event_whose_object_cannot_be_opened_is_lost_with_an_error(unopenable: Path) -> None:
    with read_write_group(InitFlag(0)) as group:
        group.mark(ADD, Mask.OPEN, unopenable)
        touch(unopenable)
        assert errno_of(group.read_events) == "EROFS"
        assert group.read_events() == []


def test_an_event_whose_object_cannot_be_opened_says_why_in_a_group_that_reports_errors(unopenable: Path) -> None:
    with read_write_group(InitFlag.REPORT_FD_ERROR) as group:
        group.mark(ADD, Mask.OPEN, unopenable)
        touch(unopenable)
        (event,) = group.read_events()
        assert event.fd_error is not None
        assert os.strerror(event.fd_error) == "Read-only file system"


def test_an_event_with_handles_has_no_descriptor_to_fail(ext4: Path) -> None:
    with listen(InitFlag.REPORT_FID | InitFlag.REPORT_FD_ERROR) as group:
        group.mark(ADD, Mask.OPEN, new_file(ext4))
        touch(ext4 / "file")
        (event,) = group.read_events()
        assert event.fd_error is not None
        assert os.strerror(event.fd_error) == "Bad file descriptor"

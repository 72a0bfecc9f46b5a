"""
What all tests share: the gate for root, filesystems that the session makes and removes, leak checks.

Tests mark and mount only what is made here (see ``mounting``).
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from engines import ENGINES
from fanotify_fastpath._modules.listing import Listing, shared_list
from mounting import KINDS, LARGE_MIB, Filesystem, Filesystems, Mounter, is_root_required

#: directories of tests that need root
NEED_ROOT = ("scenarios", "oracle")
REASON = "tests/scenarios and tests/oracle need root: they mount filesystems and put marks on them"
#: what ends a session
ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.markexpr:
        config.option.markexpr = "not long and not vm"


def pytest_report_header() -> str:
    if "kernel" in ENGINES:
        return "engine kernel: works here"
    if "daemon" in ENGINES:
        return "engine daemon, as an ordinary user"
    return "engine kernel: does not work here; what needs it is left to virtual machines (tools/vm test)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "kernel" not in ENGINES:
        left_out = {item for item in items if item.get_closest_marker("kernel_engine")}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    if os.geteuid() == 0 or is_root_required():
        return
    here = Path(__file__).parent
    for item in items:
        if any(here / name in item.path.parents for name in NEED_ROOT):
            item.add_marker(pytest.mark.skipif(True, reason=REASON))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Every signal that ends the session lets the fixtures end, so that nothing stays mounted."""
    tgid = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != tgid:  # a forked child of a test
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        for each in ENDINGS:  # once is enough: what tidies up is not to be interrupted
            signal.signal(each, signal.SIG_IGN)
        session.shouldstop = signal.Signals(number).name  # should the exception be raised where Python ignores it
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@pytest.fixture(scope="session")
def session_mounts() -> Iterator[Mounter]:
    """For mounts that end with the session; the directories of all others lie in its own."""
    mounter = Mounter(image_mib=LARGE_MIB)
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture(scope="session")
def filesystems(session_mounts: Mounter) -> Filesystems:
    if os.geteuid() != 0:
        pytest.fail(REASON)
    return Filesystems(session_mounts)


@pytest.fixture
def filesystem(request: pytest.FixtureRequest, filesystems: Filesystems) -> Filesystem:
    """One filesystem, ext4 unless the test is parametrized (see ``everywhere``)."""
    kind = getattr(request, "param", "ext4")
    top = filesystems.top(kind)
    return Filesystem(kind, top.parent if kind == "btrfs-subvolume" else top, filesystems.new(kind))


everywhere = pytest.mark.parametrize("filesystem", KINDS, indirect=True)


@pytest.fixture
def mounts(no_leaks: None, session_mounts: Mounter) -> Iterator[Mounter]:
    """For mounts that end with the test."""
    mounter = Mounter(session_mounts.new_dir("test"))
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture
def own_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Listing:
    """The shared list, in directories of the test's own; the second is no bpf filesystem."""
    monkeypatch.setattr(shared_list, "directory", os.fsencode(tmp_path / "list"))
    monkeypatch.setattr(shared_list, "readable", os.fsencode(tmp_path / "readable"))
    monkeypatch.setattr(shared_list, "owner_uid", os.geteuid())
    return shared_list


def open_descriptors() -> dict[str, str]:
    """The open descriptors of this process and what they are, without the standard ones: these pytest redirects."""
    found = {}
    for fd in set(os.listdir("/proc/self/fd")) - {"0", "1", "2"}:
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the listing's own
            continue
    return found


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Every descriptor and thread that the test's groups opened must be gone."""
    fds, threads = open_descriptors(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while (left := set(threading.enumerate()) - threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, "threads were left behind"
    leaked = {fd: what for fd, what in open_descriptors().items() if fds.get(fd) != what}
    assert not leaked, "descriptors were left behind"

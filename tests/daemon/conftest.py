"""The stage of a daemon's test: a filesystem, a daemon, and clients who are ordinary users."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath import Group
from fanotify_fastpath._wire.addresses import SOCKET_VARIABLE
from mounting import Filesystem, is_root_required

from .fake_daemon import FakeDaemon
from .support import FOR_ALL, Daemon, open_up

REASON = "the daemon needs root"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if os.geteuid() == 0 or is_root_required():
        return
    for item in items:
        if here in item.path.parents and "start" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skipif(True, reason=REASON))


@pytest.fixture(autouse=True)
def _no_leaks(no_leaks: None) -> None: ...


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory that every user reaches. Those of pytest are closed whenever a session begins beside this one."""
    path = Path(tempfile.mkdtemp(prefix="fanotify-fastpath-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons, each in a directory of its own unless one is named; they end with the test."""
    with contextlib.ExitStack() as exits:
        n_started = 0

        def start_one(config: str = FOR_ALL, *options: str, where: str | None = None, **more: Any) -> Daemon:
            nonlocal n_started
            n_started += 1
            directory = tmp_path / (where or f"daemon{n_started}")
            return exits.enter_context(Daemon(directory, config, *options, **more))

        yield start_one


@pytest.fixture
def daemon(start: Callable[..., Daemon]) -> Daemon:
    """A daemon for everybody, with the limits that are the default."""
    return start()


@pytest.fixture
def top(filesystem: Filesystem) -> Path:
    """A directory that every user may use."""
    return open_up(filesystem.dir)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that only pretends, and is found by clients."""
    monkeypatch.setenv(SOCKET_VARIABLE, os.fspath(tmp_path / "socket"))
    with FakeDaemon(tmp_path / "socket") as made:
        yield made


@pytest.fixture
def group(fake: FakeDaemon) -> Iterator[Group]:
    """A group that is served by it."""
    with Group(engine="daemon") as made:
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some directories that can be roots there."""
    for name in ("a/in", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    return tmp_path / "tree"

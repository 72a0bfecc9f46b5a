"""The stage of a scenario: a filesystem, an engine, another process, and groups that are closed at the end."""

import contextlib
import os
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
import pytest

from daemon.support import Daemon
from engines import ENGINES
from fanotify_fastpath import Group, Mask, Scope, watch
from fanotify_fastpath._engines.base import Counters
from fanotify_fastpath._engines.kernel import dispatcher
from fanotify_fastpath._uapi.mountinfo import read_mounts
from fanotify_fastpath.errors import NotPermitted, UnsupportedFeature
from fanotify_fastpath.group import EngineName
from mounting import Filesystem, Filesystems, Mounter
from outcomes import wait_until

from . import refused, users
from .support import Ears, Other

#: FP_PATH_MAX in bpf/include/fp_abi.h, FP_CLIMB_MAX in bpf/include/tables.bpf.h
_PATH_MAX = 4096
_CLIMB_MAX = 256
#: modules of which each test is played through the daemon on every filesystem that it names
ABOUT_DIFFERENCES = ("test_differences.py", "test_through_daemon.py")
#: modules that run on all engines also where FP_ENGINE names one for the others, and without an engine (test_guard_*)
SAMPLE = ("test_differences.py", "test_guard_denies.py", "test_subtree.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Where FP_ENGINE names an engine, as in the machines of tools/vm, the others are left to a sample.

    Of the daemon's there is none: what others do is told without it.
    """
    wanted = os.environ.get("FP_ENGINE")
    here = Path(__file__).parent
    mine = [item for item in items if here in item.path.parents]
    if wanted:
        sample = () if users.IS_USER else SAMPLE
        left_out = {item for item in mine if item.path.name not in sample and _engine_of(item) != wanted}
    else:
        left_out = set()
    if users.IS_USER:
        played = [item for item in mine if item not in left_out]
        refused.mark(played)
        for item in played:
            if _kind_of(item) not in users.USUAL_KINDS and item.path.name not in ABOUT_DIFFERENCES:
                item.add_marker(pytest.mark.long)
    else:
        left_out |= {item for item in mine if _engine_of(item) == "daemon"}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """What the daemon refuses, it must refuse as it is said."""
    result = yield
    refused.check(item, call, result.get_result())


def _engine_of(item: pytest.Item) -> object:
    """The engine of a test; those without guard, which is on every engine the work of fanotify."""
    return _parameters(item).get("engine")


def _kind_of(item: pytest.Item) -> object:
    """The kind of filesystem that a test is about."""
    return _parameters(item).get("filesystem", "ext4")


def _parameters(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture(scope="session", autouse=True)
def _programs() -> Iterator[None]:
    """The kernel engine's programs stay loaded: each time takes seconds in an emulated machine."""
    with contextlib.ExitStack() as exits:
        if "kernel" in ENGINES:
            programs = dispatcher.acquire()
            exits.callback(dispatcher.release)
            with contextlib.suppress(UnsupportedFeature, NotPermitted):  # nothing can be denied here
                programs.denials.try_hooks()
        yield


@pytest.fixture(scope="session")
def session_mounts() -> Iterator[Mounter]:
    mounter = users.session_mounter()
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture(scope="session")
def filesystems(session_mounts: Mounter) -> Filesystems:
    kind = users.UsersFilesystems if users.IS_USER else Filesystems
    return kind(session_mounts)


@pytest.fixture
def mounts(no_leaks: None, session_mounts: Mounter) -> Iterator[Mounter]:
    kind = users.UsersMounter if users.IS_USER else Mounter
    mounter = kind(session_mounts.new_dir("test"))
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture
def tmp_path(session_mounts: Mounter) -> Path:
    """A directory of whoever plays; pytest's own are root's alone."""
    return session_mounts.new_dir("tmp")


@pytest.fixture(scope="session")
def _daemon(session_mounts: Mounter) -> Iterator[Daemon | None]:
    """What serves the user, if one plays."""
    if not users.IS_USER:
        yield None
        return
    with users.daemon_of(session_mounts.new_dir("daemon")) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _played_by(_daemon: Daemon | None) -> Iterator[None]:
    """Who plays; in the end nothing is left in the daemon."""
    if _daemon is None:
        yield
        return
    n_threads, descriptors, n_logged = _daemon.n_threads(), _daemon.descriptors(), len(_daemon.log())
    with users.as_user():
        yield
    wait_until(lambda: _daemon.n_threads() <= n_threads, "the daemon's threads end")
    wait_until(lambda: _daemon.descriptors().items() <= descriptors.items(), "the daemon closes everything")
    logged = _daemon.log()[n_logged:]
    assert not re.search(r"^\S+ error ", logged, re.MULTILINE), logged


@pytest.fixture(scope="session")
def other() -> Iterator[Other]:
    """Another process, which lives as long as the session."""
    with Other() as process:
        yield process


@dataclass
class Stage:
    """
    What a scenario is played on.

    :ivar top: an empty directory of the test's own
    :ivar filesystem: where it lies
    :ivar other: another process
    :ivar how: how subtrees are watched: by scope ``subtree``, or by the handler ``monitor-subtree``
    """

    top: Path
    filesystem: Filesystem
    engine: EngineName
    other: Other
    how: str = "scope"
    exits: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def engine_of_plain_users(self) -> EngineName:
        """They have no kernel engine of their own: what ``auto`` takes must serve them."""
        return "auto" if self.engine == "kernel" else self.engine

    @property
    def has_records(self) -> bool:
        """Whether the listener has no more of an event than what a record in a ring tells."""
        return self.engine != "fanotify"

    @property
    def has_inodes(self) -> bool:
        """Whether it is told which inode an object has."""
        return self.engine == "kernel" or self.filesystem.kind != "overlayfs"

    @property
    def finds_objects(self) -> bool:
        """Whether handlers can be shown more of an object than its event tells."""
        return self.has_inodes or not self.has_records

    def as_told(self, path: bytes) -> bytes:
        """What a long path reads like on this engine: records have room for the last 4,096 bytes, whole names."""
        if not self.has_records or len(self._inside(path) if self.engine == "kernel" else path) <= _PATH_MAX:
            return path
        told = path[-_PATH_MAX:]
        return told[1:] if told.startswith(b"/") else told.partition(b"/")[2]

    def is_too_deep(self, path: bytes) -> bool:
        """Whether this engine cannot tell where it lies."""
        return self.engine == "kernel" and self._inside(path).count(b"/") >= _CLIMB_MAX

    def _inside(self, path: bytes) -> bytes:
        """The path inside the filesystem."""
        mountpoint = os.fsencode(self.filesystem.mountpoint)
        (root,) = {mount.root.rstrip(b"/") for mount in read_mounts().values() if mount.mountpoint == mountpoint}
        return root + path[len(mountpoint) :]

    @property
    def whole(self) -> tuple[Path, Scope]:
        """Place and scope of a mark by which all is heard that this test does on its filesystem."""
        return (self.top, Scope.SUBTREE) if users.IS_USER else (self.filesystem.mountpoint, Scope.FILESYSTEM)

    def mark_whole(self, group: Group, events: Mask) -> None:
        """Mark all of the filesystem that this test may."""
        target, scope = self.whole
        group.mark(target, events, scope=scope)

    def counters(self, group: Group) -> Counters:
        """What became of the events: of those that are not for the user, the daemon tells root."""
        return users.counted_by_daemon() if users.IS_USER else group.counters

    def group(self, **options: Any) -> Group:
        """Open a group on the engine; it is closed when the test ends."""
        return self.exits.enter_context(Group(engine=self.engine, **options))

    def ears(self, group: Group) -> Ears:
        return Ears(group, self.other)

    def watch(
        self, root: Path, events: Mask = Mask.ALL_CHANGES, *, exclude: Iterable[Path] = (), **options: Any
    ) -> Ears:
        """Watch one subtree in the way of this test."""
        if self.how == "scope":
            options.setdefault("engine", self.engine)
            watched = self.exits.enter_context(watch(root, events=events, exclude=exclude, **options))
            return self.ears(watched.group)
        group = self.group(**options)
        self.mark_whole(group, events | Mask.ONDIR)
        group.attach("monitor-subtree", roots=[root], exclude=list(exclude))
        return self.ears(group)

    def dirs(self, *names: str) -> list[Path]:
        """Make directories below the top."""
        made = [self.top / name for name in names]
        for path in made:
            path.mkdir(parents=True, exist_ok=True)
        return made


@pytest.fixture
def how(request: pytest.FixtureRequest) -> str:
    """How a subtree is watched (see ``both_ways``)."""
    way: str = getattr(request, "param", "scope")
    return way


@pytest.fixture(autouse=True)
def _no_leaks(no_leaks: None) -> None: ...


@pytest.fixture
def stage(other: Other, no_leaks: None, filesystem: Filesystem, engine: EngineName, how: str) -> Iterator[Stage]:
    with contextlib.ExitStack() as exits:
        yield Stage(filesystem.dir, filesystem, engine, other, how, exits)


@pytest.fixture
def top(filesystem: Filesystem) -> Path:
    """``in/`` is for guarding, ``out/`` is not."""
    for name in ("in/deep/er", "out/deep"):
        (filesystem.dir / name).mkdir(parents=True)
    for name in ("in/f", "in/deep/er/f", "out/f", "out/deep/f"):
        (filesystem.dir / name).write_bytes(b"content")
    return filesystem.dir


@pytest.fixture
def cgroup(mounts: Mounter) -> Iterator[Path]:
    """A cgroup of the test's own."""
    path = mounts.mount(mounts.new_dir("cgroup2"), "-t", "cgroup2", "none") / f"fanotify-fastpath-{os.getpid()}"
    with users.as_root():
        path.mkdir()
    yield path
    with users.as_root():
        path.rmdir()


#: the scenario is played twice: watched by scope subtree, and by the handler monitor-subtree on the whole filesystem
both_ways = pytest.mark.parametrize("how", ["scope", "handler"], indirect=True)

#: the scenario is about one engine
only_fanotify = pytest.mark.parametrize("engine", ["fanotify"], indirect=True)
#: … and runs only where FP_ENGINE says so
only_daemon = pytest.mark.parametrize("engine", ["daemon"], indirect=True)
_kernel = pytest.param("kernel", marks=pytest.mark.kernel_engine)
only_kernel = pytest.mark.parametrize("engine", [_kernel], indirect=True)

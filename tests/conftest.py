"""
What the scenarios and the oracle share: filesystems that the session makes and removes, the gate for root, leak checks.

Tests mark and mount only what is made here, below a temporary directory of the session.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

#: directories of tests that need root
NEED_ROOT = ("scenarios", "oracle")
REASON = "tests/scenarios and tests/oracle need root: they mount filesystems and put marks on them"
#: every filesystem of the suite; "btrfs-subvolume" is a subvolume of the btrfs that "btrfs" is the top of
KINDS = ("ext4", "xfs", "btrfs", "btrfs-subvolume", "tmpfs", "overlayfs")
LOOP_MIB = {"ext4": 768, "xfs": 640, "btrfs": 640}
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-N", "200000"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}


def is_root_required() -> bool:
    """Tell whether a missing privilege or tool is a failure instead of a skip."""
    return os.environ.get("FP_REQUIRE_ROOT") == "1"


def pytest_configure(config: pytest.Config) -> None:
    if not config.option.markexpr:
        config.option.markexpr = "not long"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0 or is_root_required():
        return
    here = Path(__file__).parent
    for item in items:
        if any(here / name in item.path.parents for name in NEED_ROOT):
            item.add_marker(pytest.mark.skipif(True, reason=REASON))


def run(*command: str | Path) -> None:
    """Run a program, and say what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Mounter:
    """Makes mounts below one directory, and undoes them in reverse order."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._mounted: list[Path] = []
        self._images: list[Path] = []
        self._n_made = 0

    def new_dir(self, name: str) -> Path:
        self._n_made += 1
        path = self.base / f"{name}{self._n_made}"
        path.mkdir()
        return path

    def mount(self, where: Path, *arguments: str | Path) -> Path:
        """Mount something at *where*."""
        run("mount", *arguments, where)
        self._mounted.append(where)
        return where

    def umount(self, where: Path) -> None:
        """Unmount, as an administrator would: it fails when the mount is busy."""
        run("umount", where)
        self._mounted.remove(where)

    def bind(self, what: Path, where: Path | None = None) -> Path:
        return self.mount(where or self.new_dir("bind"), "--bind", what)

    def make(self, kind: str, where: Path | None = None) -> Path:
        """Make a filesystem and mount it."""
        if kind == "tmpfs":
            return self.mount(where or self.new_dir(kind), "-t", "tmpfs", "fp-tmpfs")
        if kind == "overlayfs":
            base = self.make("ext4")
            layers = [base / name for name in ("lower", "upper", "work")]
            for layer in layers:
                layer.mkdir()
            options = "lowerdir={},upperdir={},workdir={},index=on,nfs_export=on".format(*layers)
            return self.mount(where or self.new_dir(kind), "-t", "overlay", "-o", options, "fp-overlay")
        return self.mount(where or self.new_dir(kind), "-t", kind, "-o", "loop", self._image(kind))

    def _image(self, kind: str) -> Path:
        path = self.new_dir("image") / "fs"
        with path.open("wb") as file:
            file.truncate(LOOP_MIB[kind] << 20)
        self._images.append(path)
        run(*MKFS[kind], path)
        return path

    def undo(self) -> None:
        """Unmount all, also what is busy, and remove the images; loop devices go with their mounts."""
        while self._mounted:
            run("umount", "-l", self._mounted.pop())
        for image in self._images:
            image.unlink()


class Filesystems:
    """The filesystems that the whole session shares, made on first use."""

    def __init__(self, base: Path) -> None:
        self.mounter = Mounter(base)
        self._tops: dict[str, Path] = {}
        self._n_dirs = 0

    def top(self, kind: str) -> Path:
        """The mountpoint of the filesystem of that kind; of a subvolume the subvolume."""
        if kind not in self._tops:
            self._tops[kind] = self._make(kind)
        return self._tops[kind]

    def _make(self, kind: str) -> Path:
        if kind == "btrfs-subvolume":
            path = self.top("btrfs") / "subvolume"
            run("btrfs", "subvolume", "create", path)
            return path
        tool = MKFS.get(kind, ("mount",))[0]
        if shutil.which(tool) is None:
            (pytest.fail if is_root_required() else pytest.skip)(f"no {tool} here")
        return self.mounter.make(kind)

    def new(self, kind: str) -> Path:
        """An empty directory on the filesystem of that kind."""
        self._n_dirs += 1
        path = self.top(kind) / f"test{self._n_dirs}"
        path.mkdir()
        return path


@dataclass(frozen=True)
class Filesystem:
    """
    A filesystem and an empty directory on it for one test.

    :ivar kind: one of KINDS
    :ivar mountpoint: where it is mounted
    :ivar dir: the test's own directory
    """

    kind: str
    mountpoint: Path
    dir: Path


@pytest.fixture(scope="session")
def filesystems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filesystems]:
    if os.geteuid() != 0:
        pytest.fail(REASON)
    made = Filesystems(tmp_path_factory.mktemp("fs"))
    try:
        yield made
    finally:
        made.mounter.undo()


@pytest.fixture
def filesystem(request: pytest.FixtureRequest, filesystems: Filesystems) -> Filesystem:
    """One filesystem, ext4 unless the test is parametrized (see ``everywhere``)."""
    kind = getattr(request, "param", "ext4")
    top = filesystems.top(kind)
    return Filesystem(kind, top.parent if kind == "btrfs-subvolume" else top, filesystems.new(kind))


everywhere = pytest.mark.parametrize("filesystem", KINDS, indirect=True)


@pytest.fixture
def mounts(no_leaks: None, filesystems: Filesystems, tmp_path: Path) -> Iterator[Mounter]:
    """For mounts that end with the test."""
    mounter = Mounter(tmp_path)
    try:
        yield mounter
    finally:
        mounter.undo()


def open_descriptors() -> dict[str, str]:
    """The open descriptors of this process and what they are."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
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

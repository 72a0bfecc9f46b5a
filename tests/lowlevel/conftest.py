"""Filesystems that the tests make and remove themselves, and the gate for root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = "tests/lowlevel need root: they mount filesystems and open fanotify groups"
LOOP_MIB = {"ext4": 32, "xfs": 320, "btrfs": 128}
MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
OVERLAYS = {"overlay": "", "overlay-nfs": ",index=on,nfs_export=on"}


@pytest.fixture(autouse=True, scope="session")
def root_required() -> None:
    """Skip, all from this one line so that the summary folds them; with FP_REQUIRE_ROOT=1 fail instead."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("FP_REQUIRE_ROOT") == "1" else pytest.skip)(REASON)


@pytest.fixture(autouse=True)
def no_descriptor_leaks(root_required: None) -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    leaked = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in set(os.listdir("/proc/self/fd")) - before if _exists(fd)}
    assert not leaked


def _exists(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")  # listdir's own descriptor is in the list and gone


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Mounter:
    """Makes mounts below one directory, and undoes them in reverse order."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._mounted: list[Path] = []
        self._images: list[Path] = []
        self._shared: dict[str, Path] = {}
        self._n_made = 0

    def new_dir(self, name: str) -> Path:
        self._n_made += 1
        path = self.base / f"{name}{self._n_made}"
        path.mkdir()
        return path

    def mount(self, where: Path, *arguments: str | Path) -> Path:
        run("mount", *arguments, where)
        self._mounted.append(where)
        return where

    def umount(self, where: Path) -> None:
        run("umount", where)
        self._mounted.remove(where)

    def image(self, kind: str) -> Path:
        """A file with a new filesystem in it."""
        path = self.new_dir("image") / "fs"
        with path.open("wb") as file:
            file.truncate(LOOP_MIB[kind] << 20)
        self._images.append(path)
        if shutil.which(MKFS[kind][0]) is None:
            pytest.skip(f"no {MKFS[kind][0]} here")
        run(*MKFS[kind], path)
        return path

    def bind(self, what: Path) -> Path:
        where = self.new_dir("bind")
        return self.mount(where, "--bind", what)

    def move(self, where: Path, to: Path) -> None:
        run("mount", "--move", where, to)
        self._mounted[self._mounted.index(where)] = to

    def remount_read_only(self, where: Path) -> Path:
        """Make one mount read-only; its filesystem stays writable through the others."""
        run("mount", "-o", "remount,bind,ro", where)
        return where

    def make(self, kind: str) -> Path:
        """A filesystem of its own for one test."""
        if kind in ("tmpfs", "proc"):
            return self.mount(self.new_dir(kind), "-t", kind, f"fp-{kind}")
        if kind in OVERLAYS:
            base = self.make("ext4")
            layers = [base / name for name in ("lower", "upper", "work")]
            for layer in layers:
                layer.mkdir()
            options = "lowerdir={},upperdir={},workdir={}".format(*layers) + OVERLAYS[kind]
            return self.mount(self.new_dir(kind), "-t", "overlay", "-o", options, "fp-overlay")
        return self.mount(self.new_dir(kind), "-t", kind, "-o", "loop", self.image(kind))

    def shared(self, kind: str) -> Path:
        """A fresh directory on a filesystem that the whole session shares."""
        if kind not in self._shared:
            try:
                self._shared[kind] = self.make(kind)
            except RuntimeError as error:
                pytest.skip(f"cannot make {kind} here: {error}")
        self._n_made += 1
        path = self._shared[kind] / f"test{self._n_made}"
        path.mkdir()
        return path

    def undo(self) -> None:
        while self._mounted:
            # lazily, so that a failed test that left a descriptor open does not leave the mount behind too
            run("umount", "-l", self._mounted.pop())
        for image in self._images:
            image.unlink()


@pytest.fixture(scope="session")
def session_mounter(root_required: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounter]:
    mounter = Mounter(tmp_path_factory.mktemp("lowlevel"))
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture
def mounter(root_required: None, tmp_path: Path) -> Iterator[Mounter]:
    """For mounts that end with the test."""
    mounter = Mounter(tmp_path)
    try:
        yield mounter
    finally:
        mounter.undo()


@pytest.fixture
def ext4(session_mounter: Mounter) -> Path:
    return session_mounter.shared("ext4")


@pytest.fixture
def tmpfs(session_mounter: Mounter) -> Path:
    return session_mounter.shared("tmpfs")


@pytest.fixture(params=["ext4", "xfs", "btrfs", "tmpfs", "overlay-nfs"])
def any_fs(request: pytest.FixtureRequest, session_mounter: Mounter) -> Path:
    return session_mounter.shared(request.param)

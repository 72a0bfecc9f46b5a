"""
Filesystems that the tests make, mount and remove again, each in a loop file or in memory.

All of it lies below one directory of the session, ``/tmp/fanotify-fastpath-*``; nothing else is mounted or marked.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from fanotify_fastpath.lowlevel import read_mounts

#: every filesystem of the suite; "btrfs-subvolume" is a subvolume of the btrfs that "btrfs" is the top of
KINDS = ("ext4", "xfs", "btrfs", "btrfs-subvolume", "tmpfs", "overlayfs")
#: sizes of images: about the least that mkfs takes, and room for storms
SMALL_MIB = {"ext4": 32, "xfs": 320, "btrfs": 128}
LARGE_MIB = {"ext4": 768, "xfs": 640, "btrfs": 640}
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-i", "4096"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
#: overlayfs can be marked as a whole if its handles can be opened, which the plain one's cannot
OVERLAYS = {"overlayfs": ",index=on,nfs_export=on", "overlayfs-plain": ",index=off,nfs_export=off"}


def is_root_required() -> bool:
    """Tell whether a missing privilege or tool is a failure instead of a skip."""
    return os.environ.get("FP_REQUIRE_ROOT") == "1"


def give_up(reason: str) -> NoReturn:
    """Skip the test, or fail it where root was promised."""
    (pytest.fail if is_root_required() else pytest.skip)(reason)


def run(*command: str | Path) -> None:
    """Run a program, and say what it said when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def mounted_below(base: Path) -> list[Path]:
    """Where something is mounted below *base*, oldest first."""
    points = (Path(os.fsdecode(mount.mountpoint)) for mount in read_mounts().values())
    return [point for point in points if base in point.parents]


class Mounter:
    """
    Makes mounts below one directory, and undoes them in reverse order.

    :param base: an empty directory, removed in the end; by default a new one among the temporary files
    :param image_mib: size of a filesystem by kind
    """

    def __init__(self, base: Path | None = None, image_mib: dict[str, int] = SMALL_MIB) -> None:
        self.base = base or Path(tempfile.mkdtemp(prefix="fanotify-fastpath-")).resolve()
        self.base.chmod(0o755)  # plain users have something to do there, too
        self._image_mib = image_mib
        self._n_made = 0

    def new_dir(self, name: str) -> Path:
        """Make an empty directory."""
        self._n_made += 1
        path = self.base / f"{name}{self._n_made}"
        path.mkdir()
        return path

    def mount(self, where: Path, *arguments: str | Path) -> Path:
        """Mount something at *where*."""
        run("mount", *arguments, where)
        return where

    def umount(self, where: Path) -> None:
        """Unmount, as an administrator would: it fails when the mount is busy."""
        run("umount", where)

    def bind(self, what: Path, where: Path | None = None) -> Path:
        """Mount a directory or file a second time."""
        return self.mount(where or self.new_dir("bind"), "--bind", what)

    def move(self, where: Path, to: Path) -> None:
        """Move a mount."""
        run("mount", "--move", where, to)

    def remount_read_only(self, where: Path) -> Path:
        """Make one mount read-only; its filesystem stays writable through the others."""
        run("mount", "-o", "remount,bind,ro", where)
        return where

    def make(self, kind: str, where: Path | None = None) -> Path:
        """Make a filesystem and mount it."""
        if kind in OVERLAYS:
            base = self.make("ext4")
            layers = [base / name for name in ("lower", "upper", "work")]
            for layer in layers:
                layer.mkdir()
            options = "lowerdir={},upperdir={},workdir={}".format(*layers) + OVERLAYS[kind]
            return self.mount(where or self.new_dir(kind), "-t", "overlay", "-o", options, "fp-overlay")
        where = where or self.new_dir(kind)
        if kind not in MKFS:
            return self.mount(where, "-t", kind, f"fp-{kind}")
        image = self.image(kind)
        self.mount(where, "-t", kind, "-o", "loop", image)
        image.unlink()  # the loop device keeps it as long as it is mounted
        return where

    def image(self, kind: str) -> Path:
        """Make a file with a new filesystem in it."""
        tool, *options = MKFS[kind]
        if shutil.which(tool) is None:
            give_up(f"no {tool} here")
        path = self.new_dir("image") / "fs"
        with path.open("wb") as file:
            file.truncate(self._image_mib[kind] << 20)
        run(tool, *options, path)
        return path

    def undo(self) -> None:
        """Unmount all that is mounted below, whoever did it and also what is busy, and remove the directory."""
        while mounted := mounted_below(self.base):
            run("umount", "-l", mounted[-1])
        shutil.rmtree(self.base)


class Filesystems:
    """The filesystems that the whole session shares, made on first use."""

    def __init__(self, mounter: Mounter) -> None:
        self._mounter = mounter
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
        try:
            return self._mounter.make(kind)
        except RuntimeError as error:
            give_up(f"cannot make {kind} here: {error}")

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

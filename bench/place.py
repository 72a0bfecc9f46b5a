"""Where the benchmark runs: an ext4 filesystem in a loop file and the compiled helpers, both gone at the end."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent
_IMAGE_BYTES = 3 << 30
_N_INODES = 500_000
_SHM = "/dev/shm"


@dataclass(frozen=True, slots=True)
class Took:
    """What one operation of a workload took, by the workload's own clocks."""

    ns: float
    cpu_ns: float


@dataclass(frozen=True, slots=True)
class Place:
    """
    The benchmark's own filesystem and programs.

    :ivar mount: where the filesystem is mounted
    :ivar work: a directory on another filesystem, for output of listeners
    """

    mount: str
    work: str

    @property
    def inside(self) -> str:
        """The subtree that is watched."""
        return f"{self.mount}/inside"

    @property
    def outside(self) -> str:
        """A directory on the same filesystem that nobody asked for."""
        return f"{self.mount}/outside"

    @property
    def listener(self) -> str:
        """Path of the plain fanotify listener in C."""
        return f"{self.work}/listener"

    def workload(self, what: str, top: str, *numbers: int) -> Took:
        """Run a workload and wait for it."""
        arguments = [f"{self.work}/workload", what, top, *map(str, numbers)]
        output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout
        return parse_workload(output)

    def remount(self) -> None:
        """Mount anew, which empties the kernel's caches of this filesystem and of no other."""
        _unmount(self.mount)
        _mount(f"{self.work}/image", self.mount)


def parse_workload(output: str) -> Took:
    """
    Read what the workload printed.

    :raises ValueError: it is something else
    """
    took_ns, cpu_ns, n_operations = map(int, output.split())
    return Took(took_ns / max(n_operations, 1), cpu_ns / max(n_operations, 1))


@contextlib.contextmanager
def place(
    directory: str | None = None,
    *,
    mount: str | None = None,
    image_bytes: int = _IMAGE_BYTES,
    n_inodes: int = _N_INODES,
) -> Iterator[Place]:
    """
    Make the filesystem and the programs; undo it all at the end.

    :param directory: where the image is put; by default memory (``/dev/shm``) if there is room: no disk has a say
    :param mount: a directory to mount it at; by default one beside the image
    """
    work = tempfile.mkdtemp(prefix="fanfp-bench-", dir=directory or _roomy(image_bytes))
    if mount is None:
        mount = f"{work}/mnt"
        os.mkdir(mount)
    try:
        _compile(work)
        image = f"{work}/image"
        with open(image, "wb") as file:
            file.truncate(image_bytes)
        options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", str(n_inodes), "-E", options, image], check=True)
        _mount(image, mount)
        here = Place(mount, work)
        os.mkdir(here.inside)
        os.mkdir(here.outside)
        yield here
    finally:
        _unmount(mount)
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def in_memory(here: Place) -> Iterator[Place]:
    """Make another filesystem, without files on a device behind it, beside the one that there is."""
    mount = f"{here.work}/memory"
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "fanfp-bench", mount], check=True)
    try:
        found = Place(mount, here.work)
        os.mkdir(found.inside)
        os.mkdir(found.outside)
        yield found
    finally:
        _unmount(mount)
        os.rmdir(mount)


def _roomy(image_bytes: int) -> str | None:
    with contextlib.suppress(OSError):
        status = os.statvfs(_SHM)
        if status.f_bavail * status.f_frsize > 2 * image_bytes:
            return _SHM
    return None


def _compile(work: str) -> None:
    for name in ("workload", "listener"):
        subprocess.run(["gcc", "-O2", "-Wall", "-o", f"{work}/{name}", str(_SOURCES / f"{name}.c")], check=True)


def _mount(image: str, mount: str) -> None:
    subprocess.run(["mount", "-t", "ext4", "-o", "loop,nosuid,nodev", image, mount], check=True)


def _unmount(mount: str) -> None:
    """Unmount, waiting a little for listeners that are just ending."""
    for _ in range(50):
        if not os.path.ismount(mount):
            return
        if subprocess.run(["umount", mount], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", mount], check=False)

"""Debian's cloud kernels: found in the sources of apt, unpacked into a cache, never installed."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingTool, VmError

#: where the kernels are kept, instead of in the user's cache directory
CACHE_VARIABLE = "FP_VM_CACHE"


@dataclass(frozen=True)
class Kernel:
    """
    An unpacked kernel.

    :ivar version: what it is made from, e.g. "6.1.192"
    :ivar release: what it calls itself (``uname -r``), e.g. "6.1.0-56-cloud-amd64"
    :ivar directory: what its package holds
    """

    version: str
    release: str
    directory: Path

    @property
    def image(self) -> Path:
        """What is booted."""
        return self.directory / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        """What belongs at /lib/modules/RELEASE."""
        return self.directory / "lib" / "modules" / self.release


def cache() -> Path:
    """The directory of all kernels."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "fanotify-fastpath" / "kernels"


def get(series: str) -> Kernel:
    """
    The kernel of a series that is there, or the newest there is.

    :param series: e.g. "6.12"
    :raises VmError: there is none, and none can be fetched
    """
    return cached(series) or fetch(series)


def cached(series: str) -> Kernel | None:
    """The newest kernel of a series that was fetched before."""
    found = [_read(directory) for directory in (cache() / series).glob("[0-9]*")]
    return max(found, key=lambda kernel: sort_key(kernel.version), default=None)


def fetch(series: str) -> Kernel:
    """
    Fetch and unpack the newest kernel of a series.

    :raises VmError: apt has none, or an own program is missing
    """
    for tool, package in {"apt-get": "apt", "dpkg": "dpkg", "depmod": "kmod"}.items():
        if shutil.which(tool, path=search_path()) is None:
            raise MissingTool(tool, package)
    name, version = newest(series, _madison(series))
    release = name.removeprefix("linux-image-")
    home = cache() / series
    if (home / release).exists():
        return _read(home / release)
    print(f"vm: fetching {name}", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as work:
        # apt's own user cannot write there
        _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}", cwd=work)
        (archive,) = Path(work).glob("*.deb")
        unpacked = Path(work) / release
        _run("dpkg", "-x", str(archive), str(unpacked))
        if not (unpacked / "lib").exists():
            (unpacked / "lib").symlink_to("usr/lib")
        _run("depmod", "-b", str(unpacked), release)
        (unpacked / "version").write_text(version)
        try:
            unpacked.rename(home / release)
        except OSError:  # somebody else was faster
            if not (home / release).exists():
                raise
    return _read(home / release)


def newest(series: str, madison: str) -> tuple[str, str]:
    """
    Choose the package of a series's newest cloud kernel.

    :param madison: what ``apt-cache madison`` prints: lines of name, version and source between bars
    :return: name and version
    :raises VmError: there is none
    """
    wanted = re.compile(rf"linux-image-{re.escape(series)}\.\d[^ ]*-cloud-amd64")
    rows = [[field.strip() for field in line.split("|")] for line in madison.splitlines()]
    found = [(row[0], row[1]) for row in rows if len(row) == 3 and wanted.fullmatch(row[0])]
    if not found:
        raise VmError(
            f"no package linux-image-{series}.*-cloud-amd64 in apt's sources: apt-get update, or a Debian source"
        )
    return max(found, key=lambda package: sort_key(package[1]))


def sort_key(version: str) -> list[int]:
    """Order versions of one series: by their numbers."""
    return [int(number) for number in re.findall(r"\d+", version)]


def search_path() -> str:
    """Where programs are looked up; the administrator's are there too."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _madison(series: str) -> str:
    names = _kernel_names(series)
    if not names and os.geteuid() == 0:
        _run("apt-get", "-qq", "update")
        names = _kernel_names(series)
    return _run("apt-cache", "madison", *names) if names else ""


def _kernel_names(series: str) -> list[str]:
    names = _run("apt-cache", "pkgnames", f"linux-image-{series}.").split()
    return [name for name in names if name.endswith("-cloud-amd64")]


def _read(directory: Path) -> Kernel:
    version = (directory / "version").read_text().partition("-")[0]
    return Kernel(version, directory.name, directory)


def _run(*command: str, cwd: str | None = None) -> str:
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise VmError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

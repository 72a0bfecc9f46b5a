"""
The shared list as files that the kernel writes at each reading: BPF iterators, pinned on a bpf filesystem.

Pinned, they stay when the process that made them ends, and anybody may read them. ``flags``, ``desc`` and
``init_args`` are the text of a map. ``stats`` counts, when it is read, how many open files of all processes are the
handler's lock file.
"""

import contextlib
import os
import struct
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from fanotify_fastpath._modules.entries import LOCK, STATS
from fanotify_fastpath.errors import UnsupportedFeature

if TYPE_CHECKING:
    from fanotify_fastpath._bpf.libbpf import Object

_ZERO = bytes(4)
#: half of what the kernel keeps for one reading
_TEXT_MAX_BYTES = 1 << 14


def pin(directory: bytes, name: bytes, texts: Mapping[str, str], entry: bytes) -> int:
    """
    Make the files of one handler; they appear together.

    :param directory: on a bpf filesystem
    :param name: of the handler
    :param texts: content by file name
    :param entry: its directory in the list
    :return: the kernel's number of the map for :func:`set_count`
    :raises UnsupportedFeature: this cannot be done here
    :raises NotPermitted: a capability is missing, or the name has a dot
    :raises KernelRefused: the kernel refuses
    :raises OSError: likewise
    """
    if b"." in name:
        raise UnsupportedFeature("names on a bpf filesystem have no dot")
    if not is_mounted(directory):
        raise UnsupportedFeature(f"no bpf filesystem is mounted for {os.fsdecode(directory)}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory)
        os.chmod(directory, 0o755)
    path = directory + b"/" + name
    os.mkdir(path, 0o700)
    try:
        for file, text in texts.items():
            _pin_text(path + b"/" + file.encode(), text.encode("utf-8", "surrogateescape"))
        counts_id = _pin_stats(path + b"/" + STATS, entry + b"/" + LOCK)
        os.chmod(path, 0o755)
    except BaseException:
        unpin(directory, name)
        raise
    return counts_id


def unpin(directory: bytes, name: bytes) -> None:
    """Remove the files of one handler, if there are any."""
    path = directory + b"/" + name
    with contextlib.suppress(FileNotFoundError):
        for file in os.listdir(path):
            os.unlink(path + b"/" + file)
        os.rmdir(path)


def pinned(directory: bytes) -> list[bytes]:
    """Names of the handlers that have files there."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def set_count(counts_id: int, n: int) -> None:
    """
    Say how many attaches there have been since the handler was loaded.

    :raises NotPermitted: a capability is missing
    :raises KernelRefused: the map is gone
    """
    from fanotify_fastpath._bpf.maps import Map

    with Map.by_id(counts_id) as counts:
        counts.update(_ZERO, n.to_bytes(8, "little"))


def is_mounted(directory: bytes) -> bool:
    """Whether a directory is, or will be, on a bpf filesystem."""
    from fanotify_fastpath._uapi.mountinfo import read_mounts

    points = {mount.mountpoint for mount in read_mounts().values() if mount.fs_type == "bpf"}
    return any(directory == point or directory.startswith(point.rstrip(b"/") + b"/") for point in points)


def _pin_text(path: bytes, text: bytes) -> None:
    from fanotify_fastpath._bpf.libbpf import Map, MapType

    if len(text) > _TEXT_MAX_BYTES:
        raise UnsupportedFeature(f"{os.fsdecode(path)!r} would have {len(text)} bytes; {_TEXT_MAX_BYTES} are possible")
    with (
        _opened("text", n_bytes=len(text)) as program_file,
        Map.create(MapType.ARRAY, "fp_text", 4, len(text)) as content,
    ):
        content.update(_ZERO, text)
        with program_file.program("text").attach_iterator(content) as link:
            link.pin(path)
    os.chmod(path, 0o444)


def _pin_stats(path: bytes, lock: bytes) -> int:
    with open(lock, "rb") as held:
        found = os.fstat(held.fileno())
        dev = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
        with _opened("stats", lock_inode=found.st_ino, lock_dev=dev) as program_file:
            with program_file.program("stats").attach_iterator() as link:
                link.pin(path)
            with program_file.map("since_load").open() as counts:
                counts_id: int = counts.map_id
        os.chmod(path, 0o444)
        with open(path, "rb") as stats:
            if not stats.read().startswith(b"attachments 1\n"):  # ours
                raise UnsupportedFeature("the kernel tells another number of the lock file than it uses itself")
    return counts_id


def _opened(program: str, **constants: int) -> "Object":
    """Load one program, with these constants."""
    from fanotify_fastpath._bpf.libbpf import Object

    try:
        data = resources.files("fanotify_fastpath._bpf").joinpath("objects", "listing.bpf.o").read_bytes()
    except FileNotFoundError as exc:
        raise UnsupportedFeature("this package was built without BPF programs (clang was missing)") from exc
    opened = Object.open_bytes(data, "fanfp")
    try:
        for each in opened.programs():
            each.set_wanted(each.name == program)
        settings = opened.layouts("listing_").structs["listing_settings"]
        values = [constants.get(member, 0) for member in settings.fields]
        opened.map(".rodata.settings").set_initial(struct.pack(settings.format, *values))
        opened.load()
    except BaseException:
        opened.close()
        raise
    return opened

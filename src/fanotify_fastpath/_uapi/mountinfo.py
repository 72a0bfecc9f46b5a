"""Mounts of this process, as ``/proc/self/mountinfo`` tells them."""

import contextlib
import os
import re
from dataclasses import dataclass

_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """
    One mount.

    :ivar mount_id: id of the mount, as ``name_to_handle_at`` returns it; reused after unmount
    :ivar parent_id: id of the mount that it is mounted on
    :ivar dev: device number of the filesystem, as :func:`os.makedev` makes it; on btrfs not ``st_dev`` of its files
    :ivar root: path inside the filesystem that is visible at *mountpoint*
    :ivar mountpoint: where it is mounted, in the mount namespace and root directory of this process
    :ivar options: options of this mount (``ro``, ``nosuid``, ...)
    :ivar fs_type: filesystem type, with subtype (``fuse.sshfs``)
    :ivar source: device or other source; may be empty
    :ivar super_options: options of the filesystem
    """

    mount_id: int
    parent_id: int
    dev: int
    root: bytes
    mountpoint: bytes
    options: tuple[str, ...]
    fs_type: str
    source: bytes
    super_options: tuple[str, ...]


def _unescape(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field) if b"\\" in field else field


def _options(field: bytes) -> tuple[str, ...]:
    return tuple(os.fsdecode(_unescape(option)) for option in field.split(b",") if option)


def parse_mount(line: bytes) -> Mount:
    """
    Parse one line of mountinfo.

    :param line: with or without its newline
    :raises ValueError: the line is not of that form
    """
    try:
        return _parse(line)
    except ValueError as error:
        raise ValueError(f"not a line of mountinfo: {line!r}") from error


def _parse(line: bytes) -> Mount:
    # Optional fields (shared:1 ...) stand between the options and a lone dash. The kernel escapes blanks within
    # fields, so single blanks separate, and two in a row mean an empty source.
    fixed, _, tail = line.rstrip(b"\n").partition(b" - ")
    mount_id, parent_id, device, root, mountpoint, options, *_optional = fixed.split(b" ")
    fs_type, source, super_options = tail.split(b" ", 2)
    major, minor = device.split(b":")
    return Mount(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        dev=os.makedev(int(major), int(minor)),
        root=_unescape(root),
        mountpoint=_unescape(mountpoint),
        options=_options(options),
        fs_type=os.fsdecode(_unescape(fs_type)),
        source=_unescape(source),
        super_options=_options(super_options),
    )


def read_mounts(path: str | bytes = "/proc/self/mountinfo") -> dict[int, Mount]:
    """
    Read all mounts, in the kernel's order: of two at one mountpoint the later covers the earlier.

    :param path: a mountinfo file
    :return: mounts by id
    :raises OSError: the file cannot be read
    """
    with open(path, "rb") as file:
        # Lines end at newlines only: the kernel does not escape carriage returns in names.
        mounts = [parse_mount(line) for line in file]
    return {mount.mount_id: mount for mount in mounts}


def find_mount(mount_id: int, path: str | bytes = "/proc/self/mountinfo", max_bytes: int = 1 << 20) -> Mount | None:
    """
    Find one mount, in a mount namespace of which the owner is not trusted to have few.

    :param path: a mountinfo file
    :param max_bytes: how much of it is read
    :return: None when it is not there
    """
    start = b"%d " % mount_id
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        for line in file.readlines(max_bytes):
            if line.startswith(start):
                return parse_mount(line)
    return None

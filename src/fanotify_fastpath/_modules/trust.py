"""Whose code it is: what runs with the rights of everyone who attaches it may be changed by its owner only."""

import os
import stat

from fanotify_fastpath.errors import NotPermitted, PathNotFound

_ROOT = 0


def check_trusted(path: bytes, owner_uid: int = _ROOT) -> None:
    """
    Check that nobody but root and the owner can change a file, or put another in its place.

    :param path: the file; it, every directory above it, and every symbolic link on the way are looked at
    :param owner_uid: who may own them besides root
    :raises NotPermitted: somebody else can
    :raises PathNotFound: it is not there
    """
    _check_way(os.path.realpath(path), owner_uid)
    _check_way(os.path.abspath(path), owner_uid)


def _check_way(path: bytes, owner_uid: int) -> None:
    """Check a path from its end to the root, and where links on it lead to."""
    while True:
        found = _look(path)
        fault = _fault(found, owner_uid)
        if fault:
            raise NotPermitted(
                f"code in {os.fsdecode(path)!r} runs with the rights of everyone who attaches it, but {fault}; "
                f"let user {owner_uid} own it, and nobody else write there",
                path=path,
            )
        directory = os.path.dirname(path)
        if stat.S_ISLNK(found.st_mode):
            _check_way(os.path.abspath(os.path.join(os.path.realpath(directory), os.readlink(path))), owner_uid)
        if path == directory:
            return
        path = directory


def _look(path: bytes) -> os.stat_result:
    try:
        os.stat(path)  # a loop of links is an error here
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise PathNotFound(f"{os.fsdecode(path)!r} is not there", path=path) from exc


def _fault(found: os.stat_result, owner_uid: int) -> str:
    if found.st_uid not in (_ROOT, owner_uid):
        return f"user {found.st_uid} owns it"
    # a link has no mode of its own; in a directory with the sticky bit, as /tmp is, nobody replaces what another owns
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "everybody may write to it"
    if found.st_mode & stat.S_IWGRP and found.st_gid != _ROOT:
        return f"group {found.st_gid} may write to it"
    return ""

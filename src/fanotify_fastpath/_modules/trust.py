"""Whose code it is: what runs with the rights of everyone who attaches it may be changed by its owner only."""

import os
import stat

from fanotify_fastpath.errors import NotPermitted, PathNotFound

_ROOT = 0


def check_trusted(path: bytes, owner_uid: int = _ROOT) -> None:
    """
    Check that nobody but root and the owner can change a file, or put another in its place.

    :param path: the file; it and every directory above it are looked at
    :param owner_uid: who may own them besides root
    :raises NotPermitted: somebody else can
    :raises PathNotFound: it is not there
    """
    path = os.path.realpath(path)
    while True:
        fault = _fault(path, owner_uid)
        if fault:
            raise NotPermitted(
                f"code in {os.fsdecode(path)!r} runs with the rights of everyone who attaches it, but {fault}; "
                f"let user {owner_uid} own it, and nobody else write there",
                path=path,
            )
        if path == b"/":
            return
        path = os.path.dirname(path)


def _fault(path: bytes, owner_uid: int) -> str:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise PathNotFound(f"{os.fsdecode(path)!r} is not there", path=path) from exc
    if found.st_uid not in (_ROOT, owner_uid):
        return f"user {found.st_uid} owns it"
    # in a directory with the sticky bit, as /tmp is, nobody replaces what another owns
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if not is_sticky and found.st_mode & stat.S_IWOTH:
        return "everybody may write to it"
    if not is_sticky and found.st_mode & stat.S_IWGRP and found.st_gid != _ROOT:
        return f"group {found.st_gid} may write to it"
    return ""

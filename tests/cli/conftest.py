"""Filesystems for the tests of the command line: small tmpfs of their own."""

import os
from pathlib import Path

import pytest

from fanotify_fastpath._modules.listing import Listing
from mounting import Mounter, give_up

REASON = "watching a subtree needs root, as does the filesystem that the test makes for it"


@pytest.fixture
def as_root() -> None:
    """Root, or a skip; a failure where root was promised."""
    if os.geteuid() != 0:
        give_up(REASON)


@pytest.fixture(autouse=True)
def _own_list(own_list: Listing, tmp_path: Path) -> None:
    """No command of these tests reads or changes this machine's list of handlers; every user can reach theirs."""
    for path in (tmp_path, *tmp_path.parents):
        if "pytest-of-" in str(path):
            path.chmod(path.stat().st_mode | 0o055)


@pytest.fixture
def tmpfs(as_root: None, mounts: Mounter) -> Path:
    """An empty tmpfs of the test's own."""
    top = mounts.make("tmpfs")
    top.chmod(0o755)
    return top


@pytest.fixture
def tree(tmpfs: Path) -> Path:
    """A directory to watch, with a file beside it."""
    directory = tmpfs / "tree"
    directory.mkdir()
    return directory


@pytest.fixture
def overlay(as_root: None, mounts: Mounter) -> Path:
    """An overlayfs that cannot be watched: without nfs_export it gives no file handles that can be opened."""
    return mounts.make("overlayfs-plain")

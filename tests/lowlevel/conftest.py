"""The filesystems that these tests run on, and the gate for root."""

import os
from pathlib import Path

import pytest

from mounting import Filesystems, give_up

REASON = "tests/lowlevel need root: they mount filesystems and open fanotify groups"


@pytest.fixture(autouse=True, scope="session")
def root_required() -> None:
    """Skip, all from one line so that the summary folds them; with FP_REQUIRE_ROOT=1 fail instead."""
    if os.geteuid() != 0:
        give_up(REASON)


@pytest.fixture(autouse=True)
def _no_leaks(root_required: None, no_leaks: None) -> None: ...


@pytest.fixture
def ext4(filesystems: Filesystems) -> Path:
    return filesystems.new("ext4")


@pytest.fixture
def tmpfs(filesystems: Filesystems) -> Path:
    return filesystems.new("tmpfs")


@pytest.fixture(params=["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"])
def any_fs(request: pytest.FixtureRequest, filesystems: Filesystems) -> Path:
    return filesystems.new(request.param)

"""Filesystems for the tests of the command line: small tmpfs of their own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REASON = "watching a subtree needs root, as does the filesystem that the test makes for it"


@pytest.fixture
def as_root() -> None:
    """Root, or a skip; a failure where root was promised."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("FP_REQUIRE_ROOT") == "1" else pytest.skip)(REASON)


def mount(where: Path, *arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments, where], check=True, capture_output=True)


@pytest.fixture
def tmpfs(as_root: None, tmp_path: Path) -> Iterator[Path]:
    """An empty tmpfs of the test's own."""
    top = tmp_path / "tmpfs"
    top.mkdir()
    mount(top, "-t", "tmpfs", "fp-cli")
    top.chmod(0o755)
    try:
        yield top
    finally:
        subprocess.run(["umount", "-l", top], check=False, capture_output=True)


@pytest.fixture
def tree(tmpfs: Path) -> Path:
    """A directory to watch, with a file beside it."""
    directory = tmpfs / "tree"
    directory.mkdir()
    return directory


@pytest.fixture
def overlay(tmpfs: Path) -> Iterator[Path]:
    """An overlayfs that cannot be watched: without nfs_export it gives no file handles that can be opened."""
    parts = {name: tmpfs / name for name in ("lower", "upper", "work", "merged")}
    for part in parts.values():
        part.mkdir()
    options = "lowerdir={lower},upperdir={upper},workdir={work},nfs_export=off,index=off".format(**parts)
    mount(parts["merged"], "-t", "overlay", "-o", options, "fp-cli-overlay")
    try:
        yield parts["merged"]
    finally:
        subprocess.run(["umount", "-l", parts["merged"]], check=False, capture_output=True)

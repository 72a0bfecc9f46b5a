"""Whose code it is: what others could change, or replace by something else, is refused."""

import os
from pathlib import Path

import pytest

from fanotify_fastpath import NotPermitted, PathNotFound
from fanotify_fastpath._modules.trust import check_trusted

STRANGER = 12345


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "above" / "place").mkdir(parents=True)
    path = tmp_path / "above" / "place" / "code.py"
    path.touch(0o644)
    return path


def is_trusted(path: Path) -> bool:
    try:
        check_trusted(os.fsencode(path), os.geteuid())
    except NotPermitted:
        return False
    return True


def test_a_file_of_ones_own_is_trusted(path: Path) -> None:
    assert is_trusted(path)
    with pytest.raises(PathNotFound):
        check_trusted(os.fsencode(path.with_name("missing")), os.geteuid())


@pytest.mark.parametrize("n_above", range(3))
def test_what_everybody_may_write_to_is_not(path: Path, n_above: int) -> None:
    where = [path, *path.parents][n_above]
    where.chmod(0o757 if n_above else 0o646)
    assert not is_trusted(path)
    with pytest.raises(NotPermitted, match="everybody may write to it"):
        check_trusted(os.fsencode(path), os.geteuid())


def test_a_sticky_directory_is(path: Path) -> None:
    path.parent.chmod(0o1777)
    assert is_trusted(path)


def test_links_are_followed_and_looked_at_themselves(path: Path, tmp_path: Path) -> None:
    for target in (path, Path("above/place/code.py")):
        link = tmp_path / f"link{len(str(target))}.py"
        link.symlink_to(target)
        assert is_trusted(link)
    (tmp_path / "shared").mkdir(mode=0o700)
    (tmp_path / "shared" / "link.py").symlink_to(path)
    assert is_trusted(tmp_path / "shared" / "link.py")
    (tmp_path / "shared").chmod(0o777)
    assert not is_trusted(tmp_path / "shared" / "link.py")
    (tmp_path / "by-way").symlink_to(tmp_path / "shared" / "link.py")
    assert not is_trusted(tmp_path / "by-way")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["file", "directory", "link in a sticky directory", "group"])
def test_what_somebody_else_owns_is_not(path: Path, tmp_path: Path, what: str) -> None:
    if what == "link in a sticky directory":
        path.parent.chmod(0o1777)
        link = path.with_name("link.py")
        link.symlink_to(path)
        os.lchown(link, STRANGER, STRANGER)
        assert not is_trusted(link)
    elif what == "group":
        os.chown(path, 0, STRANGER)
        path.chmod(0o664)
        assert not is_trusted(path)
        os.chown(path, 0, 0)
        assert is_trusted(path)
    else:
        os.chown(path if what == "file" else path.parent, STRANGER, STRANGER)
        assert not is_trusted(path)

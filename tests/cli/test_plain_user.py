"""What a plain user gets: an answer that says what is missing, and what works without."""

import json
import os
from pathlib import Path

import pytest

from children import NOBODY_UID

from .support import run_as


@pytest.fixture
def open_tree(tree: Path) -> Path:
    """A directory that everybody reaches."""
    for path in tree.parents:
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    tree.chmod(0o777)
    return tree


def test_watching_a_subtree_is_3(open_tree: Path) -> None:
    code, out, err = run_as(NOBODY_UID, ["watch", str(open_tree)])
    assert (code, out) == (3, "")
    assert err.startswith("fanfp: cannot watch ")
    assert "CAP_SYS_ADMIN" in err
    assert err.count("\n") == 1


def test_a_single_directory_can_be_watched(open_tree: Path) -> None:
    code, _, err = run_as(NOBODY_UID, ["watch", str(open_tree), "--scope", "inode", "--timeout", "0.1"])
    assert (code, err.split()[0]) == (5, "watching")


def test_a_handler_for_administrators_is_3(open_tree: Path) -> None:
    arguments = ["watch", str(open_tree), "--scope", "inode", "--handler", f"monitor-subtree:roots={open_tree}"]
    code, _, err = run_as(NOBODY_UID, arguments)
    assert code == 3
    assert "for administrators" in err


def test_a_directory_that_may_not_be_searched_is_3(open_tree: Path) -> None:
    (open_tree / "closed" / "below").mkdir(parents=True)
    (open_tree / "closed").chmod(0o700)
    assert run_as(NOBODY_UID, ["watch", str(open_tree / "closed" / "below")])[0] == 3


def test_a_path_that_does_not_exist_is_1(open_tree: Path) -> None:
    assert run_as(NOBODY_UID, ["watch", str(open_tree / "missing")])[0] == 1


def test_guarding_is_refused(open_tree: Path) -> None:
    code, _, err = run_as(NOBODY_UID, ["guard", str(open_tree), "--deny", "open"])
    assert code in (3, 4)
    assert err.count("\n") == 1


def test_doctor_says_no_and_why(open_tree: Path) -> None:
    code, out, err = run_as(NOBODY_UID, ["doctor", str(open_tree), "--json"])
    report = json.loads(out)
    assert (code, err, report["uid"], report["chosen"]) == (0, "", NOBODY_UID, None)
    engine = next(engine for engine in report["engines"] if engine["name"] == "fanotify")
    assert not engine["available"]
    assert "CAP_SYS_ADMIN" in engine["reason"]
    assert not report["paths"][0]["can_watch"]


def test_the_live_test_is_3(open_tree: Path) -> None:
    code, _, err = run_as(NOBODY_UID, ["doctor", "--live", str(open_tree)])
    assert code == 3
    assert err.count("\n") == 1
    assert list(open_tree.iterdir()) == []


def test_handlers_need_no_right(as_root: None) -> None:
    assert run_as(NOBODY_UID, ["handlers"])[0] == 0

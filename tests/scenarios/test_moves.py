"""S10, S11, S12: membership follows renames, and a rename that crosses the border says so."""

import contextlib
import itertools
import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import everywhere
from fanotify_fastpath import Event, Mask
from fanotify_fastpath._engines.fanotify.engine import FanotifyEngine
from fanotify_fastpath._engines.kernel.engine import KernelEngine

from . import actions
from .conftest import Stage, both_ways, only_fanotify
from .support import paths, renames, told

IN, OUT = ("outside/tree", "root/tree", "in"), ("root/tree", "outside/tree", "out")


class Border:
    """
    A watched directory ``root``, a directory ``outside`` beside it, and ``tree``, which goes from one to the other.

    All paths are relative to the directory that both lie in.

    :param stage: where they are made
    :param directory: made too: a directory of the tree, on the side where it is at first
    :param files: made before anybody watches
    """

    def __init__(self, stage: Stage, directory: str, *files: str) -> None:
        self._stage = stage
        self._root, _, _ = stage.dirs("root", "outside", directory)
        for file in files:
            self.write(file)
        self._ears = stage.watch(self._root)

    def write(self, path: str, data: bytes = b"x") -> None:
        self._stage.other(actions.write, self._stage.top / path, data)

    def remove(self, path: str) -> None:
        self._stage.other(actions.remove_tree, self._stage.top / path)

    def make(self, path: str) -> None:
        self._stage.other(os.mkdir, self._stage.top / path)

    def rename(self, old: str, new: str) -> None:
        self._stage.other(os.rename, self._stage.top / old, self._stage.top / new)

    def move_in(self) -> None:
        self.rename("outside/tree", "root/tree")

    def move_out(self) -> None:
        self.rename("root/tree", "outside/tree")

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody reads meanwhile."""
        engine = self._ears.group._engine
        assert isinstance(engine, FanotifyEngine | KernelEngine)
        with engine._lock:
            yield

    @contextlib.contextmanager
    def slow_reading(self) -> Iterator[None]:
        """Every reading takes up to some milliseconds, as it may on a slow or busy machine."""
        engine: Any = self._ears.group._engine
        reader, name = (engine._ring, "read_batch") if self.is_exact else (engine._sequence, "_read")
        read, pauses = getattr(reader, name), random.Random(1)

        def read_slowly(*arguments: Any) -> Any:
            time.sleep(pauses.random() * 0.002)
            result = read(*arguments)
            time.sleep(pauses.random() * 0.002)
            return result

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, name, read_slowly)
            yield

    @property
    def is_exact(self) -> bool:
        """Whether each event was decided when it happened, so that nothing can be missed or has to be read anew."""
        return self._stage.engine == "kernel"

    def hear(self) -> "Heard":
        """What happened since the last call."""
        return Heard(self._ears.hear(self._root), self._stage.top)


@dataclass(frozen=True)
class Heard:
    """Events, with all paths relative to one directory."""

    events: list[Event]
    top: Path

    @property
    def told(self) -> dict[str, Mask]:
        return told(self.events, self.top)

    @property
    def created(self) -> list[str]:
        return paths(self.events, Mask.CREATE, self.top)

    @property
    def rescans(self) -> list[str]:
        return paths(self.events, Mask.RESCAN, self.top)

    @property
    def renames(self) -> list[tuple[str, str, str | None]]:
        return renames(self.events, self.top)

    def is_told_by_where_it_happened(self, names: Iterable[str]) -> None:
        """
        Assert that *names*, made inside, were told, or are to be found by reading anew; and no outside<n>.

        The kernel merges a rename into an earlier unread one like it, so after that the place of the directory cannot
        be known: what is told then must be told, and must say that it is undecided. And what happened inside before
        the listener knew that the directory had come in may have been dropped as it was outside.
        """
        creations = [event for event in self.events if event.mask & Mask.CREATE]
        created = [(os.path.basename(event.path or ""), event.undecided) for event in creations]
        assert [name for name, undecided in created if name.startswith("outside") and not undecided] == []
        assert set(names) <= {name for name, _ in created} or {"root", "root/tree"} & set(self.rescans)


@everywhere
@both_ways
def test_s10_a_tree_moved_in_is_reported_with_its_new_path(stage: Stage) -> None:
    border = Border(stage, "outside/tree/a/b/c", "outside/tree/a/b/c/old")
    border.move_in()
    border.write("root/tree/a/b/c/old", b"longer")
    border.write("root/tree/a/b/new")
    heard = border.hear()
    assert heard.renames == [IN]
    assert heard.told["root/tree/a/b/c/old"] & Mask.MODIFY
    assert heard.told["root/tree/a/b/new"] & Mask.CREATE


@everywhere
@both_ways
def test_s10_a_tree_moved_in_is_reported_also_after_its_outside_life_was_heard(stage: Stage) -> None:
    border = Border(stage, "outside/tree/a/b/c")
    for n in range(2):
        border.write(f"outside/tree/a/b/c/outside{n}")
        assert border.hear().told == {}
    border.move_in()
    assert border.hear().renames == [IN]
    border.write("root/tree/a/b/c/inside")
    assert border.hear().created == ["root/tree/a/b/c/inside"]


@both_ways
def test_s10_a_remembered_tree_moved_in_is_rescanned(stage: Stage) -> None:
    border = Border(stage, "outside/tree/a")
    border.write("outside/tree/a/one")
    border.hear()
    border.move_in()
    border.write("root/tree/a/two")
    heard = border.hear()
    assert heard.created == ["root/tree/a/two"] or heard.rescans == ["root/tree"]


@only_fanotify
@both_ways
def test_s10_a_tree_moved_in_and_on_before_anyone_read_is_rescanned_where_it_went(stage: Stage) -> None:
    border = Border(stage, "outside/tree/a")
    border.write("outside/tree/a/one")
    border.hear()
    with border.unread():
        border.move_in()
        border.rename("root/tree/a", "root/further")
    assert border.hear().rescans == ([] if border.is_exact else ["root/tree", "root/further"])
    border.rename("root/further", "root/again")
    assert border.hear().rescans == []


@everywhere
@both_ways
def test_s11_a_tree_moved_out_is_silent(stage: Stage) -> None:
    border = Border(stage, "root/tree/a/b/c")
    border.write("root/tree/a/b/c/before")
    assert border.hear().created == ["root/tree/a/b/c/before"]
    border.move_out()
    border.write("outside/tree/a/b/c/after")
    border.remove("outside/tree/a")
    heard = border.hear()
    assert heard.renames == [OUT]
    assert len(heard.events) == 1


@everywhere
@both_ways
def test_s11_in_and_out_again_each_side_is_told_by_where_it_happened(stage: Stage) -> None:
    border = Border(stage, "root/tree/a")
    for n in range(3):
        border.write(f"root/tree/a/inside{n}")
        border.move_out()
        border.write(f"outside/tree/a/outside{n}")
        border.move_in()
    border.write("root/tree/a/inside-last")
    border.hear().is_told_by_where_it_happened(["inside0", "inside1", "inside2", "inside-last"])


@both_ways
def test_s11_in_and_out_again_the_other_way_round(stage: Stage) -> None:
    border = Border(stage, "outside/tree/a")
    for n in range(3):
        border.move_in()
        border.write(f"root/tree/a/inside{n}")
        border.move_out()
        border.write(f"outside/tree/a/outside{n}")
    border.hear().is_told_by_where_it_happened(["inside0", "inside1", "inside2"])


@only_fanotify
@both_ways
def test_s11_in_and_out_again_where_reading_is_slow(stage: Stage) -> None:
    border = Border(stage, "root/tree/a")
    with border.slow_reading():
        for _ in range(20):
            for n in range(3):
                border.write(f"root/tree/a/inside{n}")
                border.move_out()
                border.write(f"outside/tree/a/outside{n}")
                border.move_in()
            heard = border.hear()
            heard.is_told_by_where_it_happened(["inside0", "inside1", "inside2"])
            assert not border.is_exact or (heard.renames == [OUT, IN] * 3 and heard.rescans == [])
            border.remove("root/tree/a")
            border.make("root/tree/a")


@everywhere
@both_ways
def test_s11_in_and_out_with_the_listener_keeping_up_is_exact(stage: Stage) -> None:
    border = Border(stage, "root/tree/a")
    for n in range(3):
        border.write(f"root/tree/a/inside{n}")
        assert border.hear().created == [f"root/tree/a/inside{n}"]
        border.move_out()
        border.write(f"outside/tree/a/outside{n}")
        assert border.hear().renames == [OUT]
        border.move_in()
        assert border.hear().renames == [IN]


@everywhere
@both_ways
def test_s12_a_renamed_root_stays_the_root_and_has_its_new_path(stage: Stage) -> None:
    root, _ = stage.dirs("root", "root/deep/er")
    ears = stage.watch(root)
    stage.other(actions.write, root / "deep/er/before")
    assert paths(ears.hear(root), Mask.CREATE, stage.top) == ["root/deep/er/before"]
    new = stage.top / "renamed"
    stage.other(os.rename, root, new)
    stage.other(actions.write, new / "after")
    stage.other(actions.write, new / "deep/er/after")
    heard = ears.hear(new)
    assert renames(heard, stage.top) == [("root", "renamed", None)]
    assert paths(heard, Mask.CREATE, stage.top) == ["renamed/after", "renamed/deep/er/after"]


@everywhere
@both_ways
def test_s12_a_rename_above_the_root_changes_its_path(stage: Stage) -> None:
    _, root = stage.dirs("above", "above/root")
    ears = stage.watch(root)
    stage.other(os.rename, stage.top / "above", stage.top / "elsewhere")
    stage.other(actions.write, stage.top / "elsewhere/root/file")
    heard = ears.hear(stage.top / "elsewhere/root")
    assert paths(heard, Mask.CREATE, stage.top) == ["elsewhere/root/file"]


@both_ways
def test_what_takes_the_place_of_a_renamed_root_is_outside(stage: Stage) -> None:
    (root,) = stage.dirs("root")
    ears = stage.watch(root)
    stage.other(os.rename, root, stage.top / "moved")
    stage.other(os.mkdir, root)
    stage.other(actions.write, root / "impostor")
    stage.other(actions.write, stage.top / "moved/true")
    assert paths(ears.hear(stage.top / "moved"), Mask.CREATE, stage.top) == ["moved/true"]


@everywhere
@both_ways
def test_a_file_renamed_across_the_border_says_so(stage: Stage) -> None:
    border = Border(stage, "root/sub", "outside/file")
    for old, new in itertools.pairwise(["outside/file", "root/a", "root/sub/b", "outside/c"]):
        border.rename(old, new)
    assert border.hear().renames == [
        ("outside/file", "root/a", "in"),
        ("root/a", "root/sub/b", None),
        ("root/sub/b", "outside/c", "out"),
    ]


@both_ways
def test_exchange_across_the_border_is_two_renames(stage: Stage) -> None:
    root, outside, _, _ = stage.dirs("root", "outside", "root/dir", "outside/dir")
    ears = stage.watch(root)
    stage.other(actions.rename2, root / "dir", outside / "dir", actions.RENAME_EXCHANGE)
    stage.other(actions.write, root / "dir/now-inside")
    stage.other(actions.write, outside / "dir/now-outside")
    heard = ears.hear(root)
    assert sorted(renames(heard, stage.top)) == [("outside/dir", "root/dir", "in"), ("root/dir", "outside/dir", "out")]
    assert paths(heard, Mask.CREATE, stage.top) == ["root/dir/now-inside"]


@everywhere
@both_ways
def test_a_thousand_directories_moved_in_are_heard_to_the_deepest_and_moved_out_are_silent(stage: Stage) -> None:
    tree = stage.top / "outside/tree"
    stage.other(actions.make_tree, tree, 1000, 2)
    deepest = max((directory for directory, _, _ in os.walk(tree)), key=lambda path: path.count("/"))
    inner = os.path.relpath(deepest, tree)
    border = Border(stage, "outside/tree")
    for n in range(2):
        border.move_in()
        border.write(f"root/tree/{inner}/in{n}")
        heard = border.hear()
        assert heard.created == [f"root/tree/{inner}/in{n}"] or heard.rescans == ["root/tree"]
        border.move_out()
        border.write(f"outside/tree/{inner}/out{n}")
        heard = border.hear()
        assert heard.renames == [OUT]
        assert heard.told.keys() == {"outside/tree"}

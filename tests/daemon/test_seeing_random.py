"""
Random trees with random rights, which change and move: what is told is what the user can list at that time.

The truth is asked of a process that becomes the user and opens one directory after the other.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanotify_fastpath._daemon.access import Credentials
from fanotify_fastpath.mask import Mask
from mounting import Filesystem
from scenarios import actions
from scenarios.support import Other

from .sighting import ACL_NAME, GROUP, STRANGER, USER, View, acl_for, acting, listable

PERSON = Credentials(USER, USER, (GROUP,))
N_DIRECTORIES, N_ROUNDS, N_CHANGES = 24, 14, 3
#: most are open, else nothing deep would ever be shown
MODES = [0o755] * 12 + [0o700, 0o711, 0o744, 0o750, 0o770, 0o705, 0o070, 0o000, 0o500]
UIDS, GIDS = [0, 0, 0, USER, STRANGER], [0, 0, GROUP, USER, STRANGER]


class Forest:
    """
    A tree of directories, changed at random by a process of root.

    :ivar moved: what the last change renamed: names of the old and the new directory, and of the object
    """

    def __init__(self, top: Path, beside: Path, rng: random.Random, root: Other) -> None:
        self.top, self.beside = top, beside
        self._rng, self._root = rng, root
        self._n_made = 0
        for _ in range(N_DIRECTORIES):
            self.make()
        for _ in range(N_DIRECTORIES // 2):
            self.change_rights()

    def directories(self) -> list[Path]:
        """All there are, the top first."""
        return sorted(Path(path) for path, _, _ in os.walk(self.top))

    def any(self) -> Path:
        return self._rng.choice(self.directories())

    def make(self) -> None:
        self._n_made += 1
        path = self.any() / f"d{self._n_made}"
        self._root(os.mkdir, path)
        self._root(os.chmod, path, 0o755)

    def remove(self) -> None:
        leaves = [path for path in self.directories()[1:] if not any(each.is_dir() for each in path.iterdir())]
        if len(leaves) > N_DIRECTORIES // 4:
            self._root(actions.remove_tree, self._rng.choice(leaves))

    def change_rights(self) -> None:
        path = self.any()
        how = self._rng.randrange(4)
        if how == 0:
            self._root(os.chown, path, self._rng.choice(UIDS), self._rng.choice(GIDS))
        elif how == 1:
            acl = acl_for(USER, self._rng.randrange(8), group=self._rng.choice([0, 5]), others=self._rng.choice([0, 5]))
            self._root(os.setxattr, path, ACL_NAME, acl)
        else:
            if ACL_NAME in os.listxattr(path):
                self._root(os.removexattr, path, ACL_NAME)
            self._root(os.chmod, path, self._rng.choice(MODES))

    def move(self) -> tuple[Path, Path] | None:
        """Rename a directory, also out and in; return its old and new path."""
        outside = sorted(path for path in self.beside.iterdir() if path.is_dir())
        old = self._rng.choice([*self.directories()[1:], *outside])
        places = [path for path in [*self.directories(), self.beside] if old not in (path, *path.parents)]
        new = self._rng.choice(places) / old.name
        if new == old:
            return None
        self._root(os.rename, old, new)
        return old, new


@pytest.fixture(scope="module")
def root() -> Iterator[Other]:
    with acting() as process:
        yield process


@pytest.fixture
def places(filesystem: Filesystem) -> tuple[Path, Path, Path]:
    """The top of the forest, a directory beside it that everybody may list, and one for fences."""
    paths = tuple(filesystem.dir / name for name in ("top", "beside", "fences"))
    for path in paths:
        path.mkdir()
        path.chmod(0o755)
    return paths[0], paths[1], paths[2]


def seen_now(view: View, forest: Forest, root: Other, label: str) -> set[str]:
    """Make a file in each directory; return the directories of those that are told, as the client calls them."""
    for n, path in enumerate(forest.directories()):
        root(actions.touch, path / f"{label}-{n}")
    told = {os.fsdecode(e.raw_path) for e in view.hear() if e.mask & Mask.CREATE and e.raw_path is not None}
    assert all(os.path.basename(path).startswith(label) for path in told)
    return {os.path.dirname(path) for path in told}


@pytest.mark.parametrize("filesystem", ["ext4", "tmpfs"], indirect=True)
@pytest.mark.parametrize("seed", range(8))
def test_what_is_told_is_what_can_be_listed(places: tuple[Path, Path, Path], root: Other, seed: int) -> None:
    top, beside, fences = places
    rng = random.Random(seed)
    forest = Forest(top, beside, rng, root)
    top.chmod(0o755)
    os.chown(top, 0, 0)
    if ACL_NAME in os.listxattr(top):
        os.removexattr(top, ACL_NAME)
    n_shown = n_hidden = 0
    view = View(PERSON, fences, root)
    try:
        view.watch(top, called="/client")
        for number in range(N_ROUNDS):
            for _ in range(N_CHANGES):
                rng.choice([forest.change_rights, forest.change_rights, forest.make, forest.remove])()
            view.hear()
            moved = forest.move()
            renames = [(e.path, e.old_path) for e in view.hear() if e.mask & Mask.RENAME]
            reachable = {"/client" if path == "" else f"/client/{path}" for path in listable(PERSON, top)}
            if moved is not None:
                assert renames == expected_rename(*moved, top, reachable), f"round {number}"
            assert seen_now(view, forest, root, f"r{number}") == reachable, f"round {number}"
            n_shown += len(reachable)
            n_hidden += len(forest.directories()) - len(reachable)
    finally:
        view.close()
    assert n_shown > N_ROUNDS
    assert n_hidden > N_ROUNDS


def expected_rename(old: Path, new: Path, top: Path, reachable: set[str]) -> list[tuple[str | None, str | None]]:
    """New and old path as they are to be told; nothing if neither side lies in the subtree and may be told."""

    def told(path: Path) -> tuple[str | None, bool]:
        if top not in path.parents:
            return str(path), False
        name = "/client/" + str(path.relative_to(top))
        is_shown = os.path.dirname(name) in reachable
        return name if is_shown else None, is_shown

    (old_path, was_inside), (new_path, is_inside) = told(old), told(new)
    return [(new_path, old_path)] if was_inside or is_inside else []


@pytest.mark.parametrize("filesystem", ["ext4", "tmpfs"], indirect=True)
@pytest.mark.parametrize("seed", range(4))
def test_with_two_roots_what_either_leads_to_is_told(places: tuple[Path, Path, Path], root: Other, seed: int) -> None:
    top, beside, fences = places
    rng = random.Random(1000 + seed)
    inner = top / "a" / "b"
    inner.mkdir(parents=True)
    forest = Forest(top, beside, rng, root)
    for path in (top, inner):
        path.chmod(0o755)
        os.chown(path, 0, 0)
        if ACL_NAME in os.listxattr(path):
            os.removexattr(path, ACL_NAME)
    view = View(PERSON, fences, root)
    try:
        view.watch(top, called="/client")
        view.watch(inner, called="/inner")
        for number in range(N_ROUNDS):
            for _ in range(N_CHANGES):
                rng.choice([forest.change_rights, forest.change_rights, forest.make])()
            view.hear()
            within = inner.relative_to(top)
            beyond = {path for path in listable(PERSON, top) if not Path(path).is_relative_to(within)}
            expected = {("/client/" + path).rstrip("/") for path in beyond}
            expected |= {("/inner/" + path).rstrip("/") for path in listable(PERSON, inner)}
            assert seen_now(view, forest, root, f"r{number}") == expected, f"round {number}"
    finally:
        view.close()

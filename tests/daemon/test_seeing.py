"""What an ordinary user sees of the events below a root, and what not."""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fanotify_fastpath._daemon.access import Credentials
from fanotify_fastpath._engines.common.viewer import Seen
from fanotify_fastpath._engines.fanotify.raw import Raw
from fanotify_fastpath._engines.fanotify.sender import Finding
from fanotify_fastpath.errors import NotPermitted
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.mask import Mask
from fanotify_fastpath.roots import RootSet, identify
from mounting import Filesystem, Mounter
from scenarios import actions
from scenarios.support import Other

from . import lives
from .sighting import ACL_NAME, GROUP, STRANGER, USER, View, acl_for, acting

PERSON = Credentials(USER, USER, (GROUP,))
everywhere = pytest.mark.parametrize("filesystem", ["ext4", "tmpfs"], indirect=True)
on_overlay_too = pytest.mark.parametrize("filesystem", ["ext4", "tmpfs", "xfs", "btrfs", "overlayfs"], indirect=True)


@pytest.fixture(scope="module")
def root() -> Iterator[Other]:
    """A process of root."""
    with acting() as process:
        yield process


@pytest.fixture(scope="module")
def person() -> Iterator[Other]:
    """A process of the user whose view it is."""
    with acting(PERSON) as process:
        yield process


@pytest.fixture(scope="module")
def stranger() -> Iterator[Other]:
    """A process of another user."""
    with acting(Credentials(STRANGER, STRANGER)) as process:
        yield process


@dataclass
class Scene:
    """
    :ivar top: a directory that everybody may write to, the root of most tests
    :ivar beside: one beside it, which nobody watches
    """

    top: Path
    beside: Path
    make_view: Callable[..., View]
    view: View


@pytest.fixture
def scene(filesystem: Filesystem, root: Other) -> Iterator[Scene]:
    top, fences, beside = (filesystem.dir / name for name in ("top", "fences", "beside"))
    for path, mode in ((top, 0o777), (fences, 0o755), (beside, 0o777)):
        path.mkdir()
        path.chmod(mode)
    views: list[View] = []

    def make_view(user: Credentials = PERSON, **options: Any) -> View:
        views.append(View(user, fences, root, **options))
        return views[-1]

    try:
        yield Scene(top, beside, make_view, make_view())
    finally:
        for view in views:
            view.close()


def new_dir(path: Path, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
    path.mkdir(parents=True)
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def names(told: dict[str, Mask]) -> set[str]:
    return set(told)


def only(events: list[Event], mask: Mask) -> Seen:
    """The one event of these types."""
    (event,) = [event for event in events if event.mask & mask]
    assert isinstance(event, Seen)
    return event


def sides(events: list[Event]) -> list[tuple[bytes | None, bytes | None, str | None]]:
    """The renames: names of the old and the new path, and the border crossed."""

    def name(path: bytes | None) -> bytes | None:
        return None if path is None else os.path.basename(path)

    return [(name(e.raw_old_path), name(e.raw_path), e.crossing) for e in events if e.mask & Mask.RENAME]


# --- directories that may not be entered ---


@on_overlay_too
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744, 0o750, 0o000])
def test_what_happens_in_a_private_directory_is_not_told(scene: Scene, root: Other, mode: int) -> None:
    private = new_dir(scene.top / "private", mode)
    new_dir(private / "public" / "deep")
    scene.view.watch(scene.top)
    for name in ("private/secret", "private/public/secret", "private/public/deep/secret", "known"):
        root(actions.write, scene.top / name)
    root(os.mkdir, scene.top / "private/public/more")
    root(os.rmdir, scene.top / "private/public/more")
    root(os.utime, private / "public")
    assert names(scene.view.told(scene.top)) == {"known"}
    assert scene.view.sight.n_withheld > 0
    root(os.utime, private)  # its own name is no secret
    assert scene.view.told(scene.top) == {"private": Mask.ATTRIB}


@everywhere
def test_owner_group_and_access_control_lists_count(scene: Scene, root: Other) -> None:
    shown = [new_dir(scene.top / "mine", 0o700, USER), new_dir(scene.top / "ours", 0o750, 0, GROUP)]
    hidden = [new_dir(scene.top / "theirs", 0o750, 0, STRANGER), new_dir(scene.top / "unlisted", 0o755)]
    shown.append(new_dir(scene.top / "listed", 0o700))
    os.setxattr(shown[-1], ACL_NAME, acl_for(USER, 5))
    os.setxattr(hidden[-1], ACL_NAME, acl_for(USER, 0, group=5, others=5))
    scene.view.watch(scene.top)
    for path in shown + hidden:
        root(actions.touch, path / "f")
    assert names(scene.view.told(scene.top)) == {"mine/f", "ours/f", "listed/f"}


@everywhere
def test_user_0_sees_everything(scene: Scene, root: Other, stranger: Other) -> None:
    private = new_dir(scene.top / "private", 0, STRANGER)
    view = scene.make_view(Credentials(0, 0))
    view.watch(scene.top)
    root(actions.touch, private / "f")
    stranger(actions.touch, scene.top / "g")
    root(os.rename, scene.beside, private / "moved")
    events = view.hear()
    assert [event.tgid for event in events if event.path == str(scene.top / "g")][:1] == [stranger.pid]
    assert str(private / "f") in {event.path for event in events}
    assert [event.old_path for event in events if event.mask & Mask.RENAME] == [str(scene.beside)]


# --- rights that change ---


@on_overlay_too
def test_a_directory_is_shown_as_long_as_it_may_be_entered(scene: Scene, root: Other) -> None:
    directory = new_dir(scene.top / "d")
    new_dir(directory / "below")
    scene.view.watch(scene.top)

    def seen_after(mode: int, name: str) -> set[str]:
        root(directory.chmod, mode)
        scene.view.hear()
        for path in (directory, directory / "below"):
            root(actions.touch, path / name)
        heard = scene.view.told(scene.top)
        return {path for path in heard if path.endswith(name)}

    for n in range(3):
        assert seen_after(0o755, f"public{n}") == {f"d/public{n}", f"d/below/public{n}"}
        assert seen_after(0o700, f"private{n}") == set()
        assert seen_after(0o711, f"searchable{n}") == set()
    root(os.chown, directory, USER, 0)
    root(directory.chmod, 0o700)
    assert seen_after(0o700, "own") == {"d/own", "d/below/own"}


@everywhere
def test_all_at_once_is_told_by_the_rights_at_each_place_of_the_stream(scene: Scene, root: Other) -> None:
    directory = new_dir(scene.top / "d")
    scene.view.watch(scene.top)
    root(actions.touch, directory / "before")
    assert "d/before" in scene.view.told(scene.top)  # what is known from now on must not hold for what follows
    root(actions.touch, directory / "public")
    root(directory.chmod, 0o700)
    root(actions.touch, directory / "secret")
    heard = scene.view.told(scene.top)
    assert heard["d/public"] & Mask.CREATE
    assert "d/secret" not in heard


@everywhere
def test_changes_are_noticed_whoever_makes_them(scene: Scene, root: Other, person: Other) -> None:
    """Also the viewer's own process, whose accesses are left out, and without being asked for changes of rights."""
    directory = new_dir(scene.top / "d", 0o700, USER)
    view = scene.make_view(own_tgid=person.pid)
    view.watch(scene.top, Mask.CREATE)
    root(actions.touch, directory / "one")
    assert names(view.told(scene.top)) == {"d/one"}
    person(directory.chmod, 0o000)
    root(actions.touch, directory / "two")
    assert view.hear() == []
    person(os.setxattr, directory, ACL_NAME, acl_for(USER, 5))  # the owner is not asked for there
    person(directory.chmod, 0o500)
    view.hear()
    root(actions.touch, directory / "three")
    assert names(view.told(scene.top)) == {"d/three"}


@everywhere
def test_an_access_control_list_is_noticed(scene: Scene, root: Other) -> None:
    directory = new_dir(scene.top / "d")
    scene.view.watch(scene.top)
    root(actions.touch, directory / "one")
    assert "d/one" in scene.view.told(scene.top)
    root(os.setxattr, directory, ACL_NAME, acl_for(USER, 0, group=5, others=5))
    root(actions.touch, directory / "two")
    assert "d/two" not in scene.view.told(scene.top)
    root(os.removexattr, directory, ACL_NAME)
    root(directory.chmod, 0o755)
    scene.view.hear()
    root(actions.touch, directory / "three")
    assert "d/three" in scene.view.told(scene.top)


@everywhere
def test_a_busy_private_directory_is_left_to_the_kernel_until_it_is_private_no_more(scene: Scene, root: Other) -> None:
    deep = new_dir(scene.top / "private" / "deep")
    (scene.top / "private").chmod(0o700)
    scene.view.watch(scene.top)
    root(actions.touch, deep / "f")
    scene.view.hear()
    n_read = scene.view.engine.counters.n_skipped
    for _ in range(100):
        root(actions.write, deep / "f")
    assert scene.view.hear() == []
    assert scene.view.engine.counters.n_remembered == 1
    assert scene.view.engine.counters.n_skipped < n_read + 50
    root((scene.top / "private").chmod, 0o755)
    rescan = only(scene.view.hear(), Mask.RESCAN)
    assert rescan.path == str(scene.top / "private")
    root(actions.write, deep / "f")
    assert names(scene.view.told(scene.top)) == {"private/deep/f"}


@everywhere
def test_the_root_itself_may_become_private(scene: Scene, root: Other) -> None:
    directory = new_dir(scene.top / "d")
    scene.view.watch(directory)
    root(directory.chmod, 0o700)
    root(actions.touch, directory / "secret")
    assert "secret" not in scene.view.told(directory)
    root(directory.chmod, 0o755)
    scene.view.hear()
    root(actions.touch, directory / "known")
    assert names(scene.view.told(directory)) == {"known"}


# --- renames ---


@everywhere
def test_a_side_that_is_hidden_is_not_told(scene: Scene, root: Other) -> None:
    private, public = new_dir(scene.top / "private", 0o711), new_dir(scene.top / "public")
    (private / "a").touch()
    new_dir(private / "d")
    (scene.top / "f").touch()
    sets = scene.view.watch(scene.top).roots
    root(os.rename, private / "a", public / "b")
    event = only(scene.view.hear(), Mask.RENAME)
    assert sides([event]) == [(None, b"b", "in")]
    assert (event.inside, event.old_inside) == (frozenset({sets.set_id}), frozenset())
    root(os.rename, public / "b", private / "c")
    event = only(scene.view.hear(), Mask.RENAME)
    assert sides([event]) == [(b"b", None, "out")]
    assert (event.inside, event.old_inside) == (frozenset(), frozenset({sets.set_id}))
    root(os.rename, private / "c", private / "e")
    assert scene.view.hear() == []
    root(os.rename, scene.top / "f", public / "g")
    event = only(scene.view.hear(), Mask.RENAME)
    assert sides([event]) == [(b"f", b"g", None)]
    assert event.inside == event.old_inside == {sets.set_id}


@everywhere
def test_a_directory_that_comes_out_of_a_private_one_is_shown_from_there_on(scene: Scene, root: Other) -> None:
    private, public = new_dir(scene.top / "private", 0o700), new_dir(scene.top / "public")
    new_dir(private / "d" / "deep")
    scene.view.watch(scene.top)
    root(actions.touch, private / "d/deep/secret")
    assert scene.view.hear() == []
    root(os.rename, private / "d", public / "e")
    root(actions.touch, public / "e/deep/known")
    events = scene.view.hear()
    assert only(events, Mask.RESCAN).path == str(public / "e")
    scene.view.hear()
    root(actions.touch, public / "e/deep/more")
    assert "public/e/deep/more" in scene.view.told(scene.top)
    root(os.rename, public / "e", private / "f")
    root(actions.touch, private / "f/deep/secret2")
    events = scene.view.hear()
    assert sides(events) == [(b"e", None, "out")]
    assert not any(event.raw_path is not None and b"secret" in event.raw_path for event in events)


@everywhere
def test_a_private_tree_moved_in_and_out_stays_private(scene: Scene, root: Other) -> None:
    new_dir(scene.beside / "tree" / "below")
    (scene.beside / "tree").chmod(0o700)
    scene.view.watch(scene.top)
    root(os.rename, scene.beside / "tree", scene.top / "moved")
    root(actions.touch, scene.top / "moved/below/secret")
    root(os.rename, scene.top / "moved/below", scene.top / "moved/renamed")
    events = scene.view.hear()
    assert sides(events) == [(b"tree", b"moved", "in")]  # where it was everybody may look
    assert not any(b"moved/" in (event.raw_path or b"") for event in events)
    root(os.rename, scene.top / "moved", scene.beside / "out")
    assert sides(scene.view.hear()) == [(b"moved", b"out", "out")]
    scene.beside.chmod(0o700)
    root(os.rename, scene.beside / "out", scene.top / "again")
    assert sides(scene.view.hear()) == [(None, b"again", "in")]


# --- names ---


@everywhere
def test_hard_links_count_by_the_name_that_is_used(scene: Scene, root: Other) -> None:
    private = new_dir(scene.top / "private", 0o700)
    (scene.top / "one").touch()
    os.link(scene.top / "one", private / "two")
    scene.view.watch(scene.top)
    root(actions.write, private / "two")
    assert scene.view.hear() == []
    root(actions.write, scene.top / "one")
    assert names(scene.view.told(scene.top)) == {"one"}
    root(os.link, scene.top / "one", private / "three")
    assert scene.view.hear() == []


@everywhere
def test_a_deep_tree_is_shown_down_to_what_is_private(scene: Scene, root: Other) -> None:
    depth = 1200  # more than Python calls itself
    at = os.open(scene.top, os.O_RDONLY)
    for n in range(depth):
        os.mkdir(b"d", dir_fd=at)
        os.chmod(b"d", 0o711 if n == depth - 1 else 0o755, dir_fd=at)
        below = os.open(b"d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    scene.view.watch(scene.top)
    try:
        root(actions.touch, f"/proc/{os.getpid()}/fd/{at}/secret")
        root(actions.touch, f"/proc/{os.getpid()}/fd/{at}/../known")
        (path,) = {event.raw_path for event in scene.view.hear()}
    finally:
        os.close(at)
    assert path == os.fsencode(scene.top) + b"/d" * (depth - 1) + b"/known"


@everywhere
def test_names_are_told_as_they_are(scene: Scene, root: Other) -> None:
    odd = [b"new\nline", b"\xff\xfe", b" ", b"a'b\"c\\", b"x" * 255]
    top = os.fsencode(scene.top)
    for name in odd:
        os.mkdir(top + b"/" + name)
    scene.view.watch(scene.top)
    for name in odd:
        root(actions.touch, top + b"/" + name + b"/" + name)
    told = {event.raw_path for event in scene.view.hear() if event.mask & Mask.CREATE}
    assert told == {top + b"/" + name + b"/" + name for name in odd}


@everywhere
def test_paths_begin_with_what_the_client_calls_the_root(scene: Scene, root: Other, mounts: Mounter) -> None:
    outer, inner = new_dir(scene.top / "outer"), new_dir(scene.top / "outer/mid/inner")
    alias = mounts.bind(outer)
    scene.view.watch(outer, called="/by/alias")
    scene.view.watch(inner, called="/other/name")
    root(actions.touch, outer / "mid/a")
    root(actions.touch, alias / "b")
    root(actions.touch, inner / "c")
    paths = {event.raw_path for event in scene.view.hear() if event.mask & Mask.CREATE}
    assert paths == {b"/by/alias/mid/a", b"/by/alias/b", b"/other/name/c"}
    (outer / "mid").chmod(0o700)  # the user has shown to have access to the inner one
    scene.view.hear()
    root(actions.touch, outer / "mid/secret")
    root(actions.touch, inner / "d")
    paths = {event.raw_path for event in scene.view.hear() if event.mask & Mask.CREATE}
    assert paths == {b"/other/name/d"}


@everywhere
def test_exceptions_are_left_out_and_hide_nothing_else(scene: Scene, root: Other) -> None:
    left_out, again = new_dir(scene.top / "out"), new_dir(scene.top / "out/again")
    scene.view.watch(scene.top, exclude=[left_out])
    scene.view.watch(again, called="/again")
    (scene.top / "f").touch()
    scene.view.hear()
    root(actions.touch, left_out / "g")
    root(actions.touch, again / "h")
    root(os.rename, scene.top / "f", left_out / "f2")
    events = scene.view.hear()
    assert {event.raw_path for event in events if event.mask & Mask.CREATE} == {b"/again/h"}
    assert sides(events) == [(b"f", b"f2", "out")]


# --- roots that move or go ---


@everywhere
def test_a_root_that_moves_is_told_where_the_user_may_look(scene: Scene, root: Other) -> None:
    directory, secret = new_dir(scene.top / "d"), new_dir(scene.beside / "secret", 0o711)
    scene.view.watch(directory, called="/mine")
    root(os.rename, directory, scene.beside / "e")
    root(actions.touch, scene.beside / "e/f")
    events = scene.view.hear()
    assert only(events, Mask.CREATE).path == str(scene.beside / "e/f")
    assert [(event.old_path, event.path) for event in events if event.mask & Mask.RENAME] == [
        ("/mine", str(scene.beside / "e"))
    ]
    root(os.rename, scene.beside / "e", secret / "g")
    root(actions.touch, secret / "g/h")
    events = scene.view.hear()
    assert only(events, Mask.CREATE).path == "/mine/h"
    (rename,) = [event for event in events if event.mask & Mask.RENAME]
    assert (rename.old_path, rename.path) == (str(scene.beside / "e"), "/mine")
    assert not any(b"secret" in (path or b"") for event in events for path in (event.raw_path, event.raw_old_path))
    root(secret.chmod, 0o755)
    root(actions.touch, secret / "g/i")
    assert only(scene.view.hear(), Mask.CREATE).path == str(secret / "g/i")


@everywhere
def test_a_root_that_is_removed_is_told_by_its_name(scene: Scene, root: Other) -> None:
    secret = new_dir(scene.top / "secret", 0o755)
    directory = new_dir(secret / "d")
    scene.view.watch(directory, called="/mine")
    secret.chmod(0o700)
    root(os.rmdir, directory)
    events = scene.view.hear()
    assert only(events, Mask.ROOT_GONE).path == "/mine"
    assert {event.path for event in events} == {"/mine"}


@everywhere
def test_a_single_file_is_told_by_its_name_alone(scene: Scene, root: Other) -> None:
    secret = new_dir(scene.top / "secret")
    (secret / "f").touch()
    scene.view.watch(secret / "f", called="/mine")
    (secret / "f").chmod(0o644)
    os.link(secret / "f", secret / "other")
    secret.chmod(0o700)
    scene.view.hear()
    root(actions.write, secret / "f")
    root(actions.write, secret / "other")
    root(actions.write, secret / "beside")
    events = scene.view.hear()
    assert {event.path for event in events} == {"/mine"}
    assert not any(event.mask & Mask.CREATE for event in events)
    root(os.rename, secret / "other", secret / "name")
    assert {event.path for event in scene.view.hear()} <= {None}
    root((secret / "f").chmod, 0o600)
    root(actions.write, secret / "f")
    assert not any(event.mask & Mask.MODIFY for event in scene.view.hear())
    root(os.unlink, secret / "name")
    root(os.unlink, secret / "f")
    assert only(scene.view.hear(), Mask.ROOT_GONE).path == "/mine"


# --- who did it ---


@everywhere
def test_only_the_users_own_processes_are_told(scene: Scene, root: Other, person: Other, stranger: Other) -> None:
    scene.view.watch(scene.top, Mask.CREATE)
    for process, name in ((root, "root"), (person, "person"), (stranger, "stranger")):
        process(actions.touch, scene.top / name)
    events = {os.path.basename(event.path or ""): event for event in scene.view.hear()}
    assert (events["person"].tgid, events["person"].uid) == (person.pid, USER)
    assert events["person"].comm
    for name in ("root", "stranger"):
        event = events[name]
        assert (event.tgid, event.tid, event.uid, event.comm, event.exe) == (0, None, None, None, None)


@everywhere
@pytest.mark.parametrize("with_tid", [False, True])
def test_the_clients_own_accesses_are_left_out(scene: Scene, root: Other, person: Other, with_tid: bool) -> None:
    views = [
        scene.make_view(own_tgid=person.pid, include_self=include_self, with_tid=with_tid)
        for include_self in (False, True)
    ]
    for view in views:
        view.watch(scene.top, Mask.CREATE)
    person(actions.touch, scene.top / "own")
    (scene.top / "servers").touch()
    root(actions.touch, scene.top / "foreign")
    assert names(views[0].told(scene.top)) == {"foreign"}
    assert names(views[1].told(scene.top)) == {"foreign", "own"}


# --- what is gone before it can be looked at ---


@everywhere
def test_what_is_gone_is_told_to_whose_processes_removed_it(scene: Scene, person: Other, stranger: Other) -> None:
    scene.view.watch(scene.top)
    for process, name in ((person, "mine"), (stranger, "theirs")):
        process(os.makedirs, scene.top / name / "a/b")
        process(actions.touch, scene.top / name / "a/b/f")
        process(actions.remove_tree, scene.top / name)
    told = scene.view.told(scene.top)
    assert {"mine", "mine/a", "mine/a/b", "mine/a/b/f"} <= names(told)
    assert told["theirs"] & Mask.CREATE
    assert {name for name in told if name.startswith("theirs")} == {"theirs"}


def test_what_cannot_be_placed_is_told_to_whose_processes_did_it(scene: Scene, stranger: Other) -> None:
    scene.view.watch(scene.top)
    for name, mode in (("public", 0o755), ("private", 0o700)):
        stranger(os.mkdir, scene.top / name, mode)
        stranger(actions.touch, scene.top / name / "f")
    scene.view.hear()
    for uid, directory, path in (
        (PERSON.uid, "public", os.fsencode(scene.top / "public/f")),
        (PERSON.uid, "private", None),
        (STRANGER, "public", ""),
    ):
        raw = Raw(int(Mask.CREATE), 1, identify(scene.top / directory).key, b"f")
        event = Event(Mask.CREATE, b"/as/the/daemon/calls/it", tgid=1, process=Process(uid), undecided=True)
        seen = scene.view.sight.see(raw, Finding(int(Mask.CREATE), b"f"), event)
        assert (seen.raw_path if seen is not None else "") == path
        assert seen is None or seen.undecided


@everywhere
def test_what_was_known_while_it_was_there_holds_when_it_is_gone(scene: Scene, stranger: Other) -> None:
    stranger(os.makedirs, scene.top / "theirs/a")
    scene.view.watch(scene.top)
    stranger(actions.touch, scene.top / "theirs/a/f")
    assert "theirs/a/f" in scene.view.told(scene.top)
    stranger(actions.remove_tree, scene.top / "theirs")
    assert scene.view.told(scene.top)["theirs/a/f"] & Mask.DELETE


@everywhere
def test_what_was_known_before_rights_changed_does_not_hold_when_it_is_gone(scene: Scene, stranger: Other) -> None:
    theirs = scene.top / "theirs"
    stranger(os.mkdir, theirs)
    scene.view.watch(scene.top)
    stranger(actions.touch, theirs / "known")
    assert "theirs/known" in scene.view.told(scene.top)
    stranger(theirs.chmod, 0o700)
    stranger(actions.touch, theirs / "secret")
    stranger(actions.remove_tree, theirs)
    assert names(scene.view.told(scene.top)) == {"theirs"}


@everywhere
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_told_of_private_directories_that_come_and_go(scene: Scene, stranger: Other, seed: int) -> None:
    """Read while it happens, at any moment: nothing of it may be told ever."""
    rng = random.Random(seed)
    scene.view.watch(scene.top)
    stranger.start(lives.private_lives, scene.top, 300, seed)
    events: list[Event] = []
    while len(events) < 2000:
        batch = scene.view.engine.read(rng.choice([1, 10, 1000]), 0.2)
        events += batch
        if not batch:
            break
        time.sleep(rng.choice([0, 0, 0.001, 0.01]))
    stranger.finish()
    events += scene.view.hear()
    told = {os.path.basename(path) for e in events for path in (e.raw_path, e.raw_old_path) if path is not None}
    assert b"d299" in told
    assert not {name for name in told if b"secret" in name}


@everywhere
def test_directories_that_are_gone_are_not_kept_in_mind(scene: Scene, stranger: Other) -> None:
    scene.view.watch(scene.top, Mask.CREATE)
    for n in range(20):
        stranger(os.mkdir, scene.top / f"d{n}", 0o700)
        stranger(actions.touch, scene.top / f"d{n}/secret")
        assert names(scene.view.told(scene.top)) == set()
    assert len(scene.view.sight._hiders) == 20
    for n in range(20):
        stranger(actions.remove_tree, scene.top / f"d{n}")
    scene.view.hear()
    assert not scene.view.sight._hiders


# --- when the kernel did not tell ---


def test_nothing_holds_that_was_known_while_nobody_told_of_changes(scene: Scene, root: Other, mounts: Mounter) -> None:
    top = mounts.make("tmpfs")
    top.chmod(0o755)
    directory = new_dir(top / "d")
    mark = scene.view.watch(top, Mask.CREATE)
    root(actions.touch, directory / "one")
    assert names(scene.view.told(top)) == {"d/one"}
    scene.view.engine.remove_mark(mark)
    directory.chmod(0o700)
    scene.view.watch(top, Mask.CREATE)
    root(actions.touch, directory / "two")
    assert scene.view.hear() == []


@everywhere
def test_after_an_overflow_rights_are_looked_at_again(scene: Scene, root: Other) -> None:
    directory = new_dir(scene.top / "d")
    scene.view.watch(scene.top, Mask.CREATE)
    root(actions.touch, directory / "one")
    assert names(scene.view.told(scene.top)) == {"d/one"}
    engine = scene.view.engine
    assert engine._group is not None
    with engine._lock:
        directory.chmod(0o700)
        assert engine._sequence._read()[0]  # the record of that is lost
        engine._judge.overflow(7)
    root(actions.touch, directory / "two")
    (event,) = scene.view.hear()
    assert (event.mask, event.lost) == (Mask.Q_OVERFLOW, None)


# --- marked objects ---


@everywhere
def test_a_marked_directory_is_told_while_it_may_be_entered(scene: Scene, root: Other) -> None:
    secret = new_dir(scene.top / "secret")
    directory = new_dir(secret / "d")
    scene.view.watch_object(directory, Mask.CREATE | Mask.RENAME | Mask.EVENT_ON_CHILD | Mask.ONDIR, called="/mine")
    secret.chmod(0o700)
    root(actions.touch, directory / "f")
    root(os.rename, directory / "f", secret / "g")
    root(os.rename, secret / "g", directory / "h")
    events = scene.view.hear()
    assert [event.path for event in events if event.mask & Mask.CREATE] == ["/mine/f"]
    assert [(e.old_path, e.path) for e in events if e.mask & Mask.RENAME] == [("/mine/f", None), (None, "/mine/h")]
    root(directory.chmod, 0o711)
    root(actions.touch, directory / "i")
    assert scene.view.hear() == []
    root(directory.chmod, 0o755)
    root(actions.touch, directory / "j")
    assert [event.path for event in scene.view.hear()] == ["/mine/j"]


@everywhere
def test_a_marked_file_is_told_by_its_name(scene: Scene, root: Other) -> None:
    secret = new_dir(scene.top / "secret")
    (secret / "f").touch()
    (secret / "f").chmod(0o644)
    mark = scene.view.watch_object(secret / "f", Mask.MODIFY | Mask.DELETE_SELF, called="/mine")
    os.link(secret / "f", secret / "other")
    secret.chmod(0o700)
    root(actions.write, secret / "f")
    root(actions.write, secret / "other")
    assert {event.path for event in scene.view.hear()} == {"/mine"}
    root((secret / "f").chmod, 0o600)
    root(actions.write, secret / "f")
    assert scene.view.hear() == []
    root((secret / "f").chmod, 0o644)
    root(actions.write, secret / "f")
    assert {event.path for event in scene.view.hear()} == {"/mine"}
    scene.view.engine.remove_mark(mark)
    root(actions.write, secret / "f")
    assert scene.view.hear() == []


@everywhere
def test_the_object_that_was_shown_is_marked_whatever_its_path_leads_to(scene: Scene, root: Other) -> None:
    for name in ("a", "b"):
        (scene.top / name).touch()
    scene.view.watch_object(scene.top / "a", Mask.MODIFY, called=str(scene.top / "b"))
    root(actions.write, scene.top / "b")
    assert scene.view.hear() == []
    root(actions.write, scene.top / "a")
    assert {event.path for event in scene.view.hear()} == {str(scene.top / "b")}


# --- mounts ---


def test_what_is_mounted_inside_is_seen_by_whoever_gets_there(scene: Scene, root: Other, mounts: Mounter) -> None:
    private, public = (new_dir(scene.top / name / "mnt").parent for name in ("private", "public"))
    scene.view.watch(scene.top, called="/mine")
    private.chmod(0o711)
    for path in (private, public):
        mounts.mount(path / "mnt", "-t", "tmpfs", "-o", "mode=755", "fp-tmpfs")
    events = wait_for(scene.view, Mask.RESCAN)
    assert [event.path for event in events if event.mask & Mask.RESCAN] == ["/mine/public/mnt"]
    scene.view.hear()
    for path in (private, public):
        root(actions.touch, path / "mnt/f")
    assert {event.path for event in scene.view.hear()} == {"/mine/public/mnt/f"}
    for path in (private, public):
        mounts.umount(path / "mnt")
    events = wait_for(scene.view, Mask.UNMOUNT)
    assert [event.path for event in events if event.mask & Mask.UNMOUNT] == ["/mine/public/mnt"]


def test_what_cannot_be_watched_is_told_where_its_name_may_be_known(scene: Scene, mounts: Mounter) -> None:
    private, public = (new_dir(scene.top / name / "mnt").parent for name in ("private", "public"))
    scene.view.watch(scene.top, called="/mine")
    private.chmod(0o711)
    for path in (private, public):
        mounts.make("overlayfs-plain", path / "mnt")
    events = wait_for(scene.view, Mask.UNWATCHED)
    assert [event.path for event in events if event.mask & Mask.UNWATCHED] == ["/mine/public/mnt"]


def test_an_unmounted_filesystem_is_told_by_its_roots(scene: Scene, root: Other, mounts: Mounter) -> None:
    mountpoint = mounts.make("tmpfs")
    directory = new_dir(mountpoint / "secret" / "d")
    scene.view.watch(directory, called="/mine")
    mountpoint.chmod(0o700)
    mounts.umount(mountpoint)
    events = wait_for(scene.view, Mask.UNMOUNT)
    assert [event.path for event in events] == ["/mine"]


def wait_for(view: View, mask: Mask) -> list[Event]:
    """The events up to one of these types, and what comes with it."""
    events: list[Event] = []
    while not any(event.mask & mask for event in events):
        batch = view.engine.read(1000, 15)
        assert batch, f"no {mask!r}; heard {events}"
        events += batch
    return events + view.hear()


# --- who may not watch at all ---


@everywhere
def test_no_root_without_the_right_to_it(scene: Scene) -> None:
    private = new_dir(scene.top / "private", 0o711)
    with pytest.raises(NotPermitted, match="r-x"):
        scene.view.watch(private)
    with pytest.raises(NotPermitted, match="r-x"):
        scene.view.watch_object(private, Mask.CREATE)


@everywhere
def test_sets_tell_where_it_was(scene: Scene, root: Other) -> None:
    inner = new_dir(scene.top / "inner")
    sets: list[RootSet] = [scene.view.watch(path).roots for path in (scene.top, inner)]
    root(actions.touch, inner / "f")
    root(actions.touch, scene.top / "g")
    events = {event.path: event for event in scene.view.hear() if event.mask & Mask.CREATE}
    assert [
        event.inside for path in (inner / "f", scene.top / "g") if isinstance(event := events[str(path)], Seen)
    ] == [{each.set_id for each in sets}, {sets[0].set_id}]

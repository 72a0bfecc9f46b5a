"""Attaching and detaching handlers: chains, what a plain user may mark, and what fails without a trace."""

import errno
import os

import pytest

from children import as_nobody
from conftest import open_descriptors
from fanotify_fastpath import (
    FastpathError,
    Group,
    Mask,
    NotPermitted,
    Scope,
    UnsupportedFeature,
)
from mounting import Mounter

from . import actions
from .conftest import Stage
from .support import make_reachable, paths


@pytest.mark.parametrize("scope", [Scope.SUBTREE, Scope.FILESYSTEM, Scope.MOUNT])
def test_s8_a_plain_user_may_not_mark_more_than_a_directory(stage: Stage, scope: Scope) -> None:
    """Except what the daemon marks in its place: subtrees."""

    def mark() -> tuple[str, int | None]:
        with Group(engine=stage.engine_of_plain_users) as group:
            try:
                group.mark(stage.top, Mask.OPEN, scope=scope)
            except (NotPermitted, UnsupportedFeature) as exc:
                return str(exc), exc.errno
        return "", None

    make_reachable(stage.top)
    message, code = as_nobody(mark)
    if stage.engine == "daemon" and scope is Scope.SUBTREE:
        assert (message, code) == ("", None)
        return
    assert code == (errno.EOPNOTSUPP if stage.engine == "daemon" else errno.EPERM)
    assert "CAP_SYS_ADMIN" in message


def test_a_chain_is_asked_in_order_and_the_first_skip_ends_it(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    first = ears.group.attach("ignore-prefix", prefixes=["a"])
    second = ears.group.attach("ignore-prefix", prefixes=["ab", "b"])
    for name in ("ab", "ba", "cc"):
        stage.other(actions.touch, directory / name)
    assert paths(ears.hear(directory), Mask.CREATE, directory) == ["cc"]
    assert (first.n_skipped, second.n_skipped) == (1, 1)
    assert first.n_seen == second.n_seen + 1


def test_detach_takes_effect_at_once(stage: Stage) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    attachment = ears.group.attach("allow-deny-list", mode="allow", names=["only"])
    stage.other(actions.touch, directory / "other")
    stage.other(actions.touch, directory / "only")
    heard = ears.until(lambda event: event.path == str(directory / "only"), "only")
    ears.group.detach(attachment)
    stage.other(actions.touch, directory / "third")
    heard += ears.hear(directory)
    assert paths(heard, Mask.CREATE, directory) == ["only", "third"]


def test_a_failed_mark_or_attach_changes_nothing(stage: Stage, mounts: Mounter) -> None:
    (root,) = stage.dirs("root")
    proc = mounts.mount(mounts.new_dir("proc"), "-t", "proc", "fp-proc")
    ears = stage.watch(root, Mask.CREATE)
    before = open_descriptors()
    attempts = (
        lambda: ears.group.mark(stage.top / "missing", Mask.CREATE),
        lambda: ears.group.mark(root, Mask.DELETE_SELF),
        lambda: ears.group.mark(root, Mask.Q_OVERFLOW),
        lambda: ears.group.mark(root, Mask(0)),
        lambda: ears.group.mark(root, Mask.CREATE, exclude=[stage.top / "missing"]),
        lambda: ears.group.mark(proc, Mask.CREATE),
        lambda: ears.group.add_root(stage.top / "missing"),
        lambda: ears.group.add_root(proc),
        lambda: ears.group.attach("no-such-handler"),
        lambda: ears.group.attach("ignore-prefix"),
    )
    for attempt in attempts:
        with pytest.raises(FastpathError):
            attempt()
    assert len(ears.group.marks) == 1
    assert [r.path for r in ears.group.roots] == [os.fsencode(root)]
    assert open_descriptors() == before
    stage.other(actions.touch, root / "file")
    assert paths(ears.hear(root), Mask.CREATE, root) == ["file"]

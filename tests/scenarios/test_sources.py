"""S1 to S8 with handlers from each source: built in, a package, a file in Python or C, listed for all, private."""

import contextlib
import errno
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from children import as_nobody
from fanotify_fastpath import Group, HandlerBusy, InvalidArgument, Mask, NotPermitted, Scope, modules
from fanotify_fastpath._modules.listing import Listing
from fanotify_fastpath.group import EngineName
from mounting import Mounter
from others_handlers import OthersIgnorePrefix, OthersMonitorSubtree
from sources import OTHERS, installed

from . import actions
from .conftest import Stage
from .support import SHORT_S, Given, make_reachable, paths, refusal, told
from .test_subtree import (
    creations_inside_are_heard_and_those_outside_are_not,
    monitor,
    only_opens_below_the_root_are_heard,
)
from .users import as_root, own

_IN_C = Path(__file__).parents[1] / "kernel/programs"


@dataclass
class Source:
    """
    Where two handlers come from that do what ``monitor-subtree`` and ``ignore-prefix`` do.

    :ivar get: gives the one in whose place it is
    :ivar blocks: arguments with which the first denies what is asked about below its roots
    :ivar is_program: whether only who may load programs can use them
    """

    get: Callable[[str], Given]
    blocks: dict[str, Any] = field(default_factory=lambda: {"mode": "block"})
    is_program: bool = False


@pytest.fixture(params=["built in", "package", "file", "file in C", "listed for all", "private"])
def source(
    request: pytest.FixtureRequest, tmp_path: Path, own_list: Listing, session_mounts: Mounter
) -> Iterator[Source]:
    with contextlib.ExitStack() as exits:
        match request.param:
            case "built in":
                yield Source(lambda name: name)
            case "package":
                entry_points = "all = some_handlers.handlers"
                exits.enter_context(installed(tmp_path, "some-handlers", "some_handlers", entry_points))
                exits.enter_context(_loaded("some-handlers"))
                yield Source(lambda name: f"others-{name}")
            case "file":
                exits.enter_context(_loaded(str(OTHERS)))
                yield Source(lambda name: f"others-{name}")
            case "file in C":
                load = functools.cache(lambda name: exits.enter_context(_loaded(_in_c(name))))
                yield Source(lambda name: load(name) or f"{name}-in-c", blocks={}, is_program=True)
            case "listed for all":
                # every user gets there, and only root writes there
                directory, code = (own(session_mounts.new_dir(name), 0) for name in ("list", "handlers"))
                own_list.directory = os.fsencode(directory / "fanotify_fastpath")
                with as_root():
                    own_list.load(os.fspath(shutil.copy(OTHERS, code)))
                yield Source(lambda name: f"others-{name}")
            case "private":
                kinds = {"monitor-subtree": OthersMonitorSubtree, "ignore-prefix": OthersIgnorePrefix}
                yield Source(lambda name: kinds[name])


@contextlib.contextmanager
def _loaded(source: str) -> Iterator[None]:
    modules.load(source)
    try:
        yield
    finally:
        modules.unload(source, force=True)


def _in_c(name: str) -> str:
    return str(_IN_C / f"{name.replace('-', '_')}.bpf.c")


def test_s1_only_opens_below_the_root_are_reported(stage: Stage, source: Source) -> None:
    only_opens_below_the_root_are_heard(stage, source.get("monitor-subtree"))


def test_s2_what_lies_below_the_root_is_denied(stage: Stage, source: Source) -> None:
    inside, outside = stage.dirs("t/a/b", "t/c")
    with stage.group(timeout_s=SHORT_S) as group:
        stage.mark_whole(group, Mask.OPEN_PERM)
        group.attach(source.get("monitor-subtree"), roots=[inside], **source.blocks)
        for _ in range(3):
            assert refusal(stage.other, actions.write, inside / "xx") == "EPERM"
            assert refusal(stage.other, actions.write, outside / "xx") == "ok"
        assert group.read(timeout_s=0.1) == []
    assert refusal(stage.other, actions.write, inside / "xx") == "ok"


def test_s3_one_directory_without_privilege_and_prefixes_ignored(stage: Stage, source: Source) -> None:
    def listen() -> list[str]:
        with Group(engine=stage.engine_of_plain_users) as group:
            group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            try:
                group.attach(ignore, prefixes=["a", "b", "c"])
            except NotPermitted as exc:
                return [str(exc)]
            ears = stage.ears(group)
            stage.other(actions.touch, directory / "aa")
            stage.other(actions.touch, directory / "xx")
            return paths(ears.hear(directory), Mask.CREATE, directory)

    (directory,) = stage.dirs("directory")
    make_reachable(directory)
    ignore = source.get("ignore-prefix")
    (heard,) = as_nobody(listen)
    if source.is_program:
        assert "needs CAP_BPF and CAP_PERFMON" in heard
    else:
        assert heard == "xx"


def test_s3_the_same_as_administrator(stage: Stage, source: Source) -> None:
    (directory,) = stage.dirs("directory")
    group = stage.group()
    group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    attachment = group.attach(source.get("ignore-prefix"), prefixes=["a", "b", "c"])
    assert attachment.obstacle is None
    for name in ("aa", "xx", "b", "cab", "yc"):
        stage.other(actions.touch, directory / name)
    heard = stage.ears(group).hear(directory)
    assert paths(heard, Mask.CREATE, directory) == ["xx", "yc"]
    assert attachment.n_skipped >= 3


def test_s4_creations_inside_are_seen_and_those_outside_are_not(stage: Stage, source: Source) -> None:
    creations_inside_are_heard_and_those_outside_are_not(stage, source.get("monitor-subtree"))


def test_s5_opening_the_root_itself_is_reported(stage: Stage, source: Source) -> None:
    root, outside = stage.dirs("root", "outside")
    ears = monitor(stage, root, Mask.OPEN, source.get("monitor-subtree"))
    for directory in (outside, root):
        stage.other(actions.list_directory, directory)
    heard = ears.hear(root)
    assert [(event.path, event.mask, event.is_dir) for event in heard] == [(str(root), Mask.OPEN, True)]


def test_s6_a_closed_descriptor_is_refused_with_ebadf(stage: Stage, source: Source) -> None:
    group = stage.group()
    fd = os.open(stage.top, os.O_PATH)
    os.close(fd)
    for call in (lambda: group.attach(source.get("monitor-subtree"), roots=[fd]), lambda: group.mark(fd, Mask.OPEN)):
        with pytest.raises(InvalidArgument) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    assert not group.attachments
    assert not group.marks


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY])
def test_s6_an_open_directory_is_a_root_and_may_be_closed_after(stage: Stage, flags: int, source: Source) -> None:
    root, outside = stage.dirs("root", "outside")
    fd = os.open(root, flags)
    group = stage.group()
    stage.mark_whole(group, Mask.CREATE)
    group.attach(source.get("monitor-subtree"), roots=[fd])
    os.close(fd)
    for directory in (root, outside):
        stage.other(actions.touch, directory / "file")
    assert paths(stage.ears(group).hear(root), Mask.CREATE, stage.top) == ["root/file"]


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY])
def test_s6_the_descriptor_of_a_file_makes_it_the_root(stage: Stage, flags: int, source: Source) -> None:
    (directory,) = stage.dirs("directory")
    for name in ("one", "two"):
        stage.other(actions.write, directory / name)
    group = stage.group()
    fd = os.open(directory / "one", flags)
    stage.mark_whole(group, Mask.MODIFY)
    group.attach(source.get("monitor-subtree"), roots=[fd])
    os.close(fd)
    ears = stage.ears(group)
    for name in ("two", "one", "two"):
        stage.other(actions.write, directory / name, b"again")
    group.attachments[0].handler.root_sets()[0].add(stage.dirs("fence")[0])
    heard = ears.hear(stage.top / "fence")
    assert told(heard, stage.top) == {"directory/one": Mask.MODIFY}


def test_s7_exclusive_refuses_a_second_attach_until_detached(stage: Stage, source: Source) -> None:
    group = stage.group()
    first = group.attach(source.get("ignore-prefix"), prefixes=["a"], exclusive=True)
    for exclusive in (True, False):
        with pytest.raises(HandlerBusy) as caught:
            group.attach(source.get("ignore-prefix"), prefixes=["b"], exclusive=exclusive)
        assert caught.value.errno == errno.EBUSY
    assert group.attachments == (first,)
    group.detach()
    group.detach()
    second = group.attach(source.get("ignore-prefix"), prefixes=["b"], exclusive=True)
    assert group.attachments == (second,)


def test_s8_a_handler_for_administrators_is_refused_to_a_plain_user(stage: Stage, source: Source) -> None:
    """Through the daemon it only chooses among what the user is given."""

    def attach(engine: EngineName) -> tuple[int | None, int]:
        with Group(engine=engine) as group:
            group.mark(stage.top, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            try:
                group.attach(source.get("monitor-subtree"), roots=[stage.top])
            except NotPermitted as exc:
                return exc.errno, len(group.attachments)
            return None, len(group.attachments)

    make_reachable(stage.top)
    is_harmless = stage.engine == "daemon" and not source.is_program
    assert as_nobody(lambda: attach(stage.engine_of_plain_users)) == ((None, 1) if is_harmless else (errno.EPERM, 0))
    if stage.engine == "daemon":
        assert as_nobody(lambda: attach("fanotify")) == (errno.EPERM, 0)

"""S1, S2, S3 with handlers in C: in the kernel or on demand, they decide the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from children import as_nobody
from fanotify_fastpath import Group, Handler, Mask, NotPermitted, Scope
from fanotify_fastpath.handlers_in_c import read_handler

from . import actions
from .conftest import Stage
from .support import SHORT_S, make_reachable, paths, refusal
from .users import UID

ONLY_INSIDE = """
#include <handler.bpf.h>

HANDLER("only-inside", "send what lies below the roots, or deny it");
HANDLER_ROOTS(roots, 8, "directories");
HANDLER_INTEGER(is_denied, "1: deny it");
HANDLER_COUNTER(n_outside);

int handle(struct fp_handler_event *event)
{
	int is_inside = fp_lies_in(event, &roots.slot);

	if (is_inside < 0)
		return FP_FAILED;
	if (is_inside)
		return is_denied.value ? -EPERM : FP_SEND_TO_USERSPACE;
	fp_count(&n_outside, 1);
	return FP_SKIP_EVENT;
}
"""

IGNORE_PREFIX = """
#include <handler.bpf.h>

HANDLER("ignore-prefix-in-c", "skip names that begin with one of the prefixes");
HANDLER_FLAGS("unprivileged");
HANDLER_NEEDS("name user");
HANDLER_TEXTS(prefixes, 8, 20, "prefixes");
HANDLER_MAP(by_user, 100, 1);

int handle(struct fp_handler_event *event)
{
	__u64 user = event->uid, n;

	if (event->known & FP_USER && !fp_add(&by_user, &user, 1, &n))
		return FP_FAILED;
	for (__u32 n = 0; n < 8 && n < prefixes.count; n++)
		if (FP_BEGINS(event, name, &prefixes.items[n]))
			return FP_SKIP_EVENT;
	return FP_SEND_TO_USERSPACE;
}
"""

FAILS = """
#include <handler.bpf.h>

HANDLER("fails", "cannot decide about some names");
HANDLER_NEEDS("name");
HANDLER_TEXTS(names, 2, 20, "names");

int handle(struct fp_handler_event *event)
{
	return FP_EQUALS(event, name, &names.items[0]) ? FP_FAILED : FP_SKIP_EVENT;
}
"""

Make = Callable[[str], type[Handler]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A function that makes a handler of its source."""

    def make_handler(source: str) -> type[Handler]:
        path = tmp_path / "handler.bpf.c"
        path.write_text(source)
        return read_handler(path)

    return make_handler


def test_s1_only_opens_below_the_roots_are_reported(stage: Stage, make: Make) -> None:
    _, a, b, c = stage.dirs("t", "t/a", "t/a/b", "t/a/b/c")
    group = stage.group()
    stage.mark_whole(group, Mask.OPEN | Mask.ONDIR)
    handler: Any = group.attach(make(ONLY_INSIDE), roots=[b], is_denied=0).handler
    ears = stage.ears(group)
    for path in (a.parent / "xx", a / "xxa", b / "xxab", c / "xxabc"):
        stage.other(actions.touch, path)
    assert paths(ears.hear(b), Mask.OPEN, stage.top) == ["t/a/b/xxab", "t/a/b/c/xxabc"]
    assert group.attachments[0].n_skipped == handler.n_outside.value >= 2
    handler.roots.add(a)
    for path in (a.parent / "xx", a / "xxa"):
        stage.other(actions.touch, path)
    assert paths(ears.hear(b), Mask.OPEN, stage.top) == ["t/a/xxa"]
    assert group.attachments[0].n_failed == 0


def test_s2_what_lies_below_the_roots_is_denied(stage: Stage, make: Make) -> None:
    inside, outside = stage.dirs("t/a/b", "t/c")
    group = stage.group(timeout_s=SHORT_S)
    stage.mark_whole(group, Mask.OPEN_PERM)
    group.attach(make(ONLY_INSIDE), roots=[inside], is_denied=1)
    for _ in range(3):
        assert refusal(stage.other, actions.write, inside / "xx") == "EPERM"
        assert refusal(stage.other, actions.write, outside / "xx") == "ok"
    assert group.read(timeout_s=0.1) == []
    group.detach()
    assert refusal(stage.other, actions.write, inside / "xx") == "ok"


def test_s3_prefixes_are_ignored_and_users_remembered(stage: Stage, make: Make) -> None:
    (directory,) = stage.dirs("directory")
    group = stage.group()
    group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    attachment = group.attach(make(IGNORE_PREFIX), prefixes=["a", "b", "c"])
    for name in ("aa", "xx", "b", "cab", "yc"):
        stage.other(actions.touch, directory / name)
    assert paths(stage.ears(group).hear(directory), Mask.CREATE, directory) == ["xx", "yc"]
    handler: Any = attachment.handler
    assert (attachment.n_skipped, attachment.n_failed) == (3, 0)
    assert handler.by_user.items() == [(UID, attachment.n_seen)]
    group.detach()
    assert handler.by_user.get(UID) == attachment.n_seen


def test_s3_without_privilege_it_is_refused_and_says_what_is_missing(stage: Stage, make: Make) -> None:
    def attach() -> tuple[str, int]:
        with Group(engine=stage.engine_of_plain_users) as group:
            group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
            try:
                group.attach(kind, prefixes=["a"])
            except NotPermitted as exc:
                return str(exc), len(group.attachments)
        return "", 0

    (directory,) = stage.dirs("directory")
    make_reachable(directory)
    kind = make(IGNORE_PREFIX)
    message, n_attached = as_nobody(attach)
    assert "needs CAP_BPF and CAP_PERFMON" in message
    assert n_attached == 0


def test_what_it_cannot_decide_is_sent_undecided_and_counted(stage: Stage, make: Make) -> None:
    (directory,) = stage.dirs("directory")
    ears = stage.watch(directory, Mask.CREATE)
    attachment = ears.group.attach(make(FAILS), names=["strange"])
    for name in ("plain", "strange"):
        stage.other(actions.touch, directory / name)
    (event,) = ears.until(lambda event: event.path == str(directory / "strange"), "strange")
    assert event.undecided
    assert (attachment.n_failed, attachment.n_skipped, attachment.n_seen) == (1, 1, 2)


def test_another_one_in_its_place_goes_on_with_what_it_remembers(stage: Stage, make: Make) -> None:
    (directory,) = stage.dirs("directory")
    group = stage.group()
    group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
    attachment = group.attach(make(IGNORE_PREFIX), prefixes=["a"])
    ears = stage.ears(group)
    for name in ("ab", "ba"):
        stage.other(actions.touch, directory / name)
    assert paths(ears.hear(directory), Mask.CREATE, directory) == ["ba"]
    group.replace(attachment, make(IGNORE_PREFIX.replace("FP_BEGINS", "FP_ENDS")))
    for name in ("abb", "bba"):
        stage.other(actions.touch, directory / name)
    assert paths(ears.hear(directory), Mask.CREATE, directory) == ["abb"]
    handler: Any = attachment.handler
    assert handler.by_user.items() == [(UID, attachment.n_seen)]
    group.detach()
    assert handler.by_user.items() == [(UID, attachment.n_seen)]


def test_two_attaches_and_two_groups_remember_by_themselves(stage: Stage, make: Make) -> None:
    (directory,) = stage.dirs("directory")
    kind = make(IGNORE_PREFIX)
    groups = [stage.group(), stage.group()]
    for group, prefix in zip(groups, ("a", "b"), strict=True):
        group.mark(directory, Mask.CREATE | Mask.EVENT_ON_CHILD, scope=Scope.INODE)
        group.attach(kind, prefixes=[prefix])
    for name in ("aa", "ba"):
        stage.other(actions.touch, directory / name)
    heard = [paths(stage.ears(group).hear(directory), Mask.CREATE, directory) for group in groups]
    assert heard == [["ba"], ["aa"]]
    for group in groups:
        (attachment,) = group.attachments
        handler: Any = attachment.handler
        assert handler.by_user.get(UID) == attachment.n_seen

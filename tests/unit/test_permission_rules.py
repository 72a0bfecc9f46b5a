"""The rules of a guardian: described in one process, judged in another, here both in one."""

import errno
import marshal
from typing import Any

import pytest

from fanotify_fastpath import SEND_TO_USERSPACE, Handler, HandlerEvent, Mask, RootSet, Scope, Verdict, deny
from fanotify_fastpath._engines.fanotify.permission import PermissionEngine, PermissionOptions
from fanotify_fastpath._engines.fanotify.permission.consult import Consultant
from fanotify_fastpath._engines.fanotify.permission.membership import NOWHERE
from fanotify_fastpath._engines.fanotify.permission.rule import GuardRule
from fanotify_fastpath._engines.fanotify.permission.rules import Outcome, Rules, describe
from fanotify_fastpath.builtin import AllowDenyList, IgnorePrefix, MonitorSubtree
from fanotify_fastpath.chain import Attachment
from fanotify_fastpath.errors import InvalidArgument
from fanotify_fastpath.events import Event
from fanotify_fastpath.marks import Mark
from fanotify_fastpath.roots import Root
from happened import Happened

FSID = b"12345678"
ROOT = Root(FSID + b"root", b"/t/in", 1, 2, True, 30)
TOP = Root(FSID + b"top", b"/t", 1, 1, True, 30)


class Shown(Happened):
    """An event as a handler sees it."""

    dev, inode, tgid, comm, exe = 1, 2, 300, b"cat", b"/bin/cat"

    def __init__(self, name: bytes = b"f", inside: frozenset[int] = NOWHERE, uid: int = 1000) -> None:
        self.mask = int(Mask.OPEN_PERM)
        self.name = name
        self.uid = uid
        self._inside = inside

    def inside(self, roots: RootSet) -> bool | None:
        return roots.set_id in self._inside


class Own(Handler):
    name = "own"

    def handle(self, event: HandlerEvent) -> Verdict:
        return deny(errno.EIO)


def attached(kind: type[Handler], **arguments: Any) -> Attachment:
    handler = kind()
    handler.init(**arguments)
    return Attachment(handler)


def rules(*attachments: Attachment, decides: bool = False, mark: Mark | None = None) -> Rules:
    state = describe({1: mark or whole()}, list(enumerate(attachments, 1)), decides=decides)
    return Rules(marshal.loads(marshal.dumps(state)))  # as it comes out at the other end


def whole(mask: Mask = Mask.OPEN_PERM) -> Mark:
    return Mark(Scope.FILESYSTEM, mask, TOP)


def subtree(mask: Mask = Mask.OPEN_PERM) -> Mark:
    mark = Mark(Scope.SUBTREE, mask, ROOT)
    mark.roots.include(ROOT)
    return mark


def monitor(mode: str) -> tuple[Attachment, RootSet]:
    roots = RootSet()
    roots.include(ROOT)
    return attached(MonitorSubtree, roots=roots, exclude=RootSet(), mode=mode), roots


def test_block_mode_denies_inside_and_lets_the_whole_outside_pass() -> None:
    attachment, roots = monitor("block")
    judged = rules(attachment)
    assert judged.judge(Shown(inside=frozenset({roots.set_id}))).outcome is Outcome.DENY
    outside = judged.judge(Shown())
    assert (outside.outcome, outside.holds_for_directory) == (Outcome.ALLOW, True)
    assert judged.take_counts() == {1: (2, 1, 1)}
    assert judged.take_counts() == {}


def test_points_are_those_of_marks_and_of_handlers() -> None:
    attachment, roots = monitor("filter")
    mark = subtree()
    assert rules(attachment, mark=mark).points() == {ROOT.key: [(mark.roots.set_id, True), (roots.set_id, True)]}


def test_a_skip_behind_one_that_may_deny_by_name_holds_for_no_directory() -> None:
    names = {"mode": "deny", "suffixes": (), "globs": (), "uids": frozenset(), "executables": ()}
    by_name = attached(AllowDenyList, names=(b"secret",), **names)
    skips, _ = monitor("filter")
    assert not rules(by_name, skips).judge(Shown()).holds_for_directory
    assert rules(attached(IgnorePrefix, prefixes=(b"x",)), skips).judge(Shown()).holds_for_directory


def test_own_handlers_and_all_behind_them_are_asked_for() -> None:
    skips, roots = monitor("filter")
    inside = Shown(inside=frozenset({roots.set_id}))
    decision = rules(skips, Attachment(Own()), attached(IgnorePrefix, prefixes=(b"x",))).judge(inside)
    assert (decision.outcome, decision.to_ask) == (Outcome.ASK, [2, 3])
    assert rules(skips, Attachment(Own())).judge(Shown()).outcome is Outcome.ALLOW


@pytest.mark.parametrize(("decides", "outcome"), [(True, Outcome.ASK), (False, Outcome.DELIVER)])
def test_what_every_handler_sends_is_decided_or_delivered(decides: bool, outcome: Outcome) -> None:
    assert rules(decides=decides).judge(Shown()).outcome is outcome


def test_a_guard_rule_reports_what_it_denies() -> None:
    rule = attached(GuardRule, mode="deny", uids=frozenset({33}), executables=())
    denied = rules(rule).judge(Shown())
    assert (denied.outcome, denied.is_reported) == (Outcome.DENY, True)
    assert rules(rule).judge(Shown(uid=33)).outcome is Outcome.ALLOW
    asks = attached(GuardRule, mode="ask", uids=frozenset({33}), executables=())
    assert rules(asks, decides=True).judge(Shown()).outcome is Outcome.ASK


def test_marks_want_by_place_and_by_kind() -> None:
    mark = subtree(Mask.OPEN_PERM | Mask.ACCESS_PERM)
    inside = frozenset({mark.roots.set_id})
    judged = rules(mark=mark)
    assert judged.wanted(inside, FSID, False) == Mask.OPEN_PERM | Mask.ACCESS_PERM
    assert judged.wanted(inside, FSID, True) == 0
    assert judged.wanted(NOWHERE, FSID, False) == 0
    assert judged.wanted(None, FSID, False) == Mask.OPEN_PERM | Mask.ACCESS_PERM
    assert judged.filesystems() == {FSID: (int(Mask.OPEN_PERM | Mask.ACCESS_PERM), 30)}
    assert not judged.is_surely_wanted(FSID)
    assert rules(mark=whole()).is_surely_wanted(FSID)
    assert rules(mark=subtree(Mask.OPEN_PERM | Mask.ONDIR)).wanted(NOWHERE, FSID, True) == 0


def test_error_numbers_need_another_class_of_group() -> None:
    assert not rules().may_deny_with_errno
    assert rules(decides=True).may_deny_with_errno
    assert rules(Attachment(Own())).may_deny_with_errno
    assert rules(mark=whole(Mask.PRE_ACCESS)).may_deny_with_errno


FIELDS = {
    "mask": int(Mask.OPEN_PERM), "path": b"/t/in/f", "is_dir": False, "tgid": 300, "uid": 0, "comm": b"cat",
    "exe": b"/bin/cat", "dev": 1, "inode": 2, "time_ns": 5, "undecided": False,
}  # fmt: skip


def consult(answer: object, *attachments: Attachment, allow: bool = True) -> tuple[tuple[bool, int], list[Event]]:
    told: list[Event] = []

    def decide(event: Event) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    consultant = Consultant(decide, allow, told.append)
    consultant.attachments = dict(enumerate(attachments, 1))
    return consultant.consult(FIELDS, list(consultant.attachments), None), told


def test_the_users_answer_is_a_truth_or_a_verdict() -> None:
    assert consult(True)[0] == (True, errno.EPERM)
    assert consult(False) == ((False, errno.EPERM), [])
    assert consult(deny(errno.EBUSY))[0] == (False, errno.EBUSY)
    allowed, told = consult(SEND_TO_USERSPACE)
    assert (allowed[0], [event.path for event in told]) == (True, ["/t/in/f"])


@pytest.mark.parametrize("allow", [True, False])
def test_a_callback_that_raises_counts_as_one_that_is_late(allow: bool) -> None:
    (is_allowed, _), told = consult(RuntimeError("a bug"), allow=allow)
    assert is_allowed is allow
    assert [event.undecided for event in told] == [True]


def test_an_own_handler_comes_before_the_callback() -> None:
    own = Attachment(Own())
    assert consult(True, own)[0] == (False, errno.EIO)
    assert (own.n_seen, own.n_denied) == (1, 1)


@pytest.mark.parametrize("options", [{"timeout_s": 0.0}, {"timeout_s": 1e9}, {"on_timeout": "later"}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        PermissionEngine(PermissionOptions(**options), lambda event: None)

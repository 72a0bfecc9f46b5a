"""Other code in the place of an attached handler."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fanotify_fastpath.arguments import Argument, Integer
from fanotify_fastpath.chain import Chain
from fanotify_fastpath.errors import HandlerNotFound, HandlerRefused, InvalidArgument
from fanotify_fastpath.handlers import Handler, HandlerEvent
from fanotify_fastpath.registry import Registry
from fanotify_fastpath.state import Counter, StateMap
from fanotify_fastpath.verdict import SEND_TO_USERSPACE, SKIP_EVENT, Verdict

EVENT = cast(HandlerEvent, SimpleNamespace())


class Old(Handler):
    """Sends, and counts."""

    name = "code"
    arguments = (Argument("limit", Integer(), "a number"),)
    n_seen = Counter()
    by_name = StateMap(max_entries=4)
    freed = False

    def init(self, *, limit: int) -> None:
        self.limit = limit

    def handle(self, event: HandlerEvent) -> Verdict:
        self.n_seen.add(1)
        return SEND_TO_USERSPACE

    def free(self) -> None:
        self.freed = True


class New(Old):
    """Skips, and counts on."""

    by_name = StateMap(max_entries=8)

    def handle(self, event: HandlerEvent) -> Verdict:
        self.n_seen.add(1)
        return SKIP_EVENT


class Refusing(Old):
    """Wants nothing of it."""

    def init(self, *, limit: int) -> None:
        raise ValueError("no")


def attached() -> tuple[Chain, Registry, Any]:
    registry = Registry()
    registry.register(Old)
    chain = Chain(lambda: None, registry=registry)
    return chain, registry, chain.attach("code", {"limit": 7})


def test_a_replacement_has_the_arguments_and_remembers() -> None:
    chain, registry, attachment = attached()
    old = attachment.handler
    old.by_name.put(1, 1)
    assert chain.judge(EVENT)[0] is SEND_TO_USERSPACE
    chain.replace(attachment, New)
    assert chain.judge(EVENT)[0] is SKIP_EVENT
    new = attachment.handler
    assert (new.limit, new.n_seen.value, attachment.n_seen, attachment.n_skipped) == (7, 2, 2, 1)
    assert new.by_name.items() == [], "of another form"
    assert (old.freed, registry.users(Old), registry.users(New)) == (True, 0, 1)
    chain.detach()
    assert (new.freed, registry.users(New)) == (True, 0)


@pytest.mark.parametrize(
    ("handler", "error"), [("none", HandlerNotFound), (Refusing, HandlerRefused)], ids=["unknown", "refusing"]
)
def test_a_replacement_that_fails_changes_nothing(handler: Any, error: type[Exception]) -> None:
    chain, registry, attachment = attached()
    with pytest.raises(error):
        chain.replace(attachment, handler)
    assert type(attachment.handler) is Old
    assert (registry.users(Old), registry.users(Refusing)) == (1, 0)


def test_only_what_is_attached_is_replaced() -> None:
    chain, _, attachment = attached()
    chain.detach(attachment)
    with pytest.raises(InvalidArgument, match="not attached"):
        chain.replace(attachment, New)

"""Other code in the place of a handler while events flow: each is judged once, by the old or by the new."""

import time

from fanotify_fastpath import SEND_TO_USERSPACE, SKIP_EVENT, Counter, Handler, HandlerEvent, Mask, StateMap, Verdict
from sizes import repeated

from . import actions
from .conftest import Stage
from .support import Other

N_FILES = 4000


class First(Handler):
    """Counts all, and sends every other."""

    name = "first"
    n_judged = Counter()
    n_by = StateMap(max_entries=4)

    def handle(self, event: HandlerEvent) -> Verdict:
        self.n_judged.add(1)
        self.n_by.add(1, 1)
        if event.name is not None and event.name.endswith((b"1", b"3", b"5", b"7", b"9")):
            return SEND_TO_USERSPACE
        return SKIP_EVENT


class Second(First):
    """The same in other words."""

    name = "second"

    def handle(self, event: HandlerEvent) -> Verdict:
        self.n_judged.add(1)
        self.n_by.add(2, 1)
        if event.name is not None and event.name.endswith((b"0", b"2", b"4", b"6", b"8")):
            return SKIP_EVENT
        return SEND_TO_USERSPACE


def test_each_event_is_judged_once_by_one_of_the_two(stage: Stage, other: Other) -> None:
    (root,) = stage.dirs("root")
    group = stage.group()
    attachment = group.attach(First)
    group.replace(attachment, Second)  # now both are compiled
    group.mark(root, Mask.CREATE)
    n = repeated(N_FILES, 2000)
    names: list[str | None] = []
    n_replaced = 0
    other.start(actions.make_files, root, n)
    deadline = time.monotonic() + 60
    while len(names) < n // 2 and time.monotonic() < deadline:
        group.replace(attachment, (First, Second)[n_replaced % 2])
        n_replaced += 1
        names += [event.path for event in group.read(timeout_s=0.05)]
    other.finish()
    handler = attachment.handler
    assert isinstance(handler, First)
    assert len(names) == len(set(names)) == n // 2
    assert handler.n_judged.value == attachment.n_seen == n
    assert attachment.n_skipped == n // 2
    assert sum(value for _, value in handler.n_by.items()) == n
    assert n_replaced >= 2

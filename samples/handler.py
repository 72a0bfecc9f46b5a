"""A handler of one's own, that leaves out system users: ``handler.py DIRECTORY MIN_UID``."""

import sys
from typing import Any

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, Integer


class UidAtLeast(fan.Handler):
    """Skip what users below a number do; what is not known to be theirs is sent."""

    name = "uid-at-least"
    desc = "skip events that users below a number cause"
    flags = fan.HandlerFlags.UNPRIVILEGED
    arguments = (Argument("minimum", Integer(0, 2**32 - 1), "least user id that is reported"),)
    depends = fan.Depends.PROCESS

    def init(self, *, minimum: int, **_: Any) -> None:
        self.minimum = minimum

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.uid is not None and event.uid < self.minimum:
            return fan.SKIP_EVENT
        return fan.SEND_TO_USERSPACE


directory, minimum = sys.argv[1:]
with fan.Group() as group:
    attachment = group.attach(UidAtLeast, minimum=minimum)
    group.mark(directory, fan.Mask.CLOSE_WRITE)
    for event in group:
        print(event.uid, event.path, "skipped so far:", attachment.n_skipped, flush=True)

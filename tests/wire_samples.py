"""One message of each kind, as client and daemon would send them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fanotify_fastpath._wire.channel import Channel
from fanotify_fastpath._wire.messages import (
    Answer,
    Ask,
    Discard,
    Done,
    Failed,
    Gone,
    GroupStatus,
    Hello,
    Include,
    Mark,
    MarkObject,
    Open,
    Opened,
    Request,
    Status,
    Statuses,
    Sync,
    Synced,
    Unmark,
    Welcome,
    decode_answer,
    decode_request,
)

GROUP = GroupStatus(7, 1000, 4242, "a test", "fanotify", 12, 2, 3, 1, 1 << 20, {"n_delivered": 5})

REQUESTS: list[Request] = [
    Hello(1, 1, "a test"),
    Open(2, include_self=False, follow_submounts=True, with_tid=False, merge=True, ring_bytes=1 << 20),
    Include(3, set=0, root=1, included=True, path=b"/srv/\xff\xfe"),
    Discard(4, set=255, root=2**32 - 1),
    Mark(5, mark=0, mask=0x40000002, set=3),
    MarkObject(6, mark=1, mask=2**32 - 1, path=b"/"),
    Unmark(7, mark=2**32 - 1),
    Ask(8, sets=[0, 1, 255]),
    Sync(9),
    Status(2**63 - 1, after=7),
]

ANSWERS: list[Answer] = [
    Welcome(1, 1, "fanfpd", "fanotify", {"roots": 4096}),
    Opened(2, "fanotify", "memory", 1 << 20),
    Done(3),
    Synced(9, {"n_delivered": 2**64 - 1}),
    Statuses(10, [GROUP, GROUP], more=True),
    Failed(11, "LimitReached", 122, "more than 64 sets of roots in a group"),
    Gone(0, "the daemon is being stopped"),
]


@contextmanager
def connected() -> Iterator[tuple[Channel[Answer], Channel[Request]]]:
    """A client's end and the daemon's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Channel(ends[0], decode_answer) as client, Channel(ends[1], decode_request) as daemon:
        yield client, daemon


def n_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))

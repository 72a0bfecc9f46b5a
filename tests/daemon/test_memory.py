"""The daemon's memory in the long run: what many packets, clients and events have left."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fanotify_fastpath import Mask
from fanotify_fastpath._wire import messages
from outcomes import wait_until

from .attacking import attacker_of, held
from .client import opened_as
from .support import FOR_ALL, OTHER_USER, Daemon

#: less than 20 bytes for each packet: whatever a packet leaves, it is more
N_PACKETS, MAX_GROWTH_BYTES = 200_000, 4 << 20
FAST = FOR_ALL + "[limits]\nrequests_per_second = 1000000\nrequests_burst = 1000000\n"
Start = Callable[..., Daemon]


def rss_bytes(daemon: Daemon) -> int:
    """What it has in memory, without what is shared with clients."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


def grown_by(daemon: Daemon, work: Callable[[int], object]) -> int:
    """By how much it is larger after *work* of so many packets than after the first tenth of it."""
    work(N_PACKETS // 10)
    before = rss_bytes(daemon)
    work(N_PACKETS)
    grown = rss_bytes(daemon) - before
    print(f"after {N_PACKETS // 10}: {before >> 10} KiB; {N_PACKETS} later {grown >> 10} KiB more")
    return grown


@pytest.mark.long
def test_packets_leave_nothing(start: Start, top: Path) -> None:
    daemon = start(FAST)
    (top / "below").mkdir()
    with attacker_of(daemon) as user:
        user.hello()
        before = held(daemon)
        user.hang_up()

        def work(n: int) -> None:
            for seed in range(n // 2000):  # none takes longer than a client may
                user.many_requests(top, 2000, seed)

        assert grown_by(daemon, work) < MAX_GROWTH_BYTES
        user.connect()
        user.hello()
        wait_until(lambda: held(daemon) == before, "nothing is left of the connections")


@pytest.mark.long
def test_events_leave_nothing(start: Start, top: Path) -> None:
    """Of directories that come and go, half of them private."""
    daemon = start(FAST)
    with opened_as(daemon) as user, opened_as(daemon, OTHER_USER) as lazy:
        user.watch(top, Mask.ALL_CHANGES | Mask.ONDIR, ring_bytes=1 << 22)
        lazy.watch(top, Mask.ALL_CHANGES | Mask.ONDIR)
        n_heard = 0

        def work(n: int) -> None:
            nonlocal n_heard
            for at in range(n // 4):
                path = top / f"{at % 1000}"
                path.mkdir(mode=0o700 if at % 2 else 0o755)
                os.close(os.open(path / "file", os.O_CREAT | os.O_WRONLY))
                os.unlink(path / "file")
                path.rmdir()
                if at % 500 == 0:
                    n_heard += len(user.hear())

        assert grown_by(daemon, work) < MAX_GROWTH_BYTES
        assert n_heard > N_PACKETS // 4
        assert isinstance(lazy.ask(messages.Sync), messages.Synced)

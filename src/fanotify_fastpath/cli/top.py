"""``fanfp top``: the daemon's groups, the busiest first, again and again."""

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fanotify_fastpath._probes.daemon import Inquiry
from fanotify_fastpath._wire.messages import GroupStatus
from fanotify_fastpath.cli.exits import Exit
from fanotify_fastpath.cli.ps import COLUMNS, as_dict, n_lost, row, table

_RATES = ("told/s", "lost/s")
_TOLD = "n_put"


@dataclass(frozen=True, slots=True)
class Line:
    """
    One group, and what it did of late.

    :ivar told_per_s: events put into its ring; None: it was not seen before
    :ivar lost_per_s: events lost
    """

    group: GroupStatus
    told_per_s: float | None = None
    lost_per_s: float | None = None

    def as_row(self) -> tuple[str, ...]:
        """For people."""
        rates = (self.told_per_s, self.lost_per_s)
        return (*row(self.group), *("-" if rate is None else f"{rate:.1f}" for rate in rates))

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return {**as_dict(self.group), "told_per_s": self.told_per_s, "lost_per_s": self.lost_per_s}


class Meter:
    """Compares groups with how they were the last time."""

    def __init__(self) -> None:
        self._before: dict[int, GroupStatus] = {}
        self._before_s = 0.0

    def measure(self, groups: Sequence[GroupStatus], now_s: float) -> list[Line]:
        """
        Measure them.

        :param now_s: seconds that only grow
        :return: the busiest first; the daemon's numbers are never used again, so a group is known by its own
        """
        passed_s = now_s - self._before_s
        lines = [self._line(group, passed_s) for group in groups]
        self._before, self._before_s = {group.group: group for group in groups}, now_s
        return sorted(lines, key=lambda line: (-(line.told_per_s or 0.0), line.group.group))

    def _line(self, group: GroupStatus, passed_s: float) -> Line:
        before = self._before.get(group.group)
        if before is None or passed_s <= 0:
            return Line(group)
        n_told = group.counters.get(_TOLD, 0) - before.counters.get(_TOLD, 0)
        return Line(group, n_told / passed_s, (n_lost(group) - n_lost(before)) / passed_s)


def run(options: argparse.Namespace) -> int:
    """Show, wait and show again; return the exit code."""
    meter = Meter()
    with Inquiry() as inquiry, _display(as_json=options.json) as show:
        n_shown = 0
        while True:
            show(meter.measure(list(inquiry.groups()), time.monotonic()))
            n_shown += 1
            if n_shown == options.count:
                return Exit.DONE
            time.sleep(options.interval)


@contextlib.contextmanager
def _display(*, as_json: bool) -> Iterator[Callable[[list[Line]], None]]:
    """What shows lines: on a terminal in place of those before, else below them."""
    if as_json:
        yield lambda lines: print(json.dumps([line.as_dict() for line in lines]), flush=True)
        return
    from rich.console import Console
    from rich.live import Live

    columns = (*COLUMNS, *_RATES)
    console = Console(highlight=False)
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda lines: live.update(table(columns, (line.as_row() for line in lines)), refresh=True)
        return
    console.width = 1000  # a file or pipe has no width to wrap at

    def below(lines: list[Line]) -> None:
        console.print(table(columns, (line.as_row() for line in lines)))
        console.print()
        console.file.flush()

    yield below

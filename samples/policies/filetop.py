"""Show which processes use the files below a directory most, counted by type of operation."""

import argparse
import contextlib
import time
from collections import Counter

from rich.live import Live
from rich.table import Table

import fanotify_fastpath as fan

COUNTED = (
    fan.Mask.OPEN,
    fan.Mask.ACCESS,
    fan.Mask.MODIFY,
    fan.Mask.CREATE,
    fan.Mask.DELETE,
    fan.Mask.RENAME,
)


class FileTop(fan.Handler):
    """
    Count events by process and type, and send none.

    :ivar counts: by process and event type
    """

    name = "filetop"
    desc = "count events by process and type, and send none"
    depends = fan.Depends.PROCESS | fan.Depends.MASK
    counts = fan.StateMap(max_entries=16384, key_words=2, evict=True)

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        for kind in COUNTED:
            if event.mask & kind:
                self.counts.add((event.tgid, int(kind)), 1)
        return fan.SKIP_EVENT


def top(handler: FileTop, n_rows: int) -> list[tuple[int, Counter[int]]]:
    """The processes with most events, the first one first, with their counts by type."""
    by_process: dict[int, Counter[int]] = {}
    for key, n in handler.counts.items():
        assert isinstance(key, tuple)
        tgid, kind = key
        by_process.setdefault(tgid, Counter())[kind] = n
    return sorted(by_process.items(), key=lambda item: item[1].total(), reverse=True)[:n_rows]


def comm_of(tgid: int) -> str:
    """Name of a process that still runs."""
    with contextlib.suppress(OSError), open(f"/proc/{tgid}/comm", errors="surrogateescape") as file:
        return ascii(file.read().strip())[1:-1]
    return "-"


def table(handler: FileTop, n_rows: int) -> Table:
    """What is shown."""
    shown = Table("tgid", "comm", *(fan.mask_names(kind)[0] for kind in COUNTED))
    for tgid, counts in top(handler, n_rows):
        shown.add_row(str(tgid), comm_of(tgid), *(str(counts[kind]) for kind in COUNTED))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long (default: never)")
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()
    events = fan.Mask(sum(COUNTED))
    with contextlib.suppress(KeyboardInterrupt), fan.Group(engine=options.engine) as group:
        handler = group.attach(FileTop).handler
        assert isinstance(handler, FileTop)
        group.mark(options.directory, events | fan.Mask.ONDIR)
        end_s = time.monotonic() + options.seconds
        with Live(table(handler, options.rows), auto_refresh=False) as live:
            while time.monotonic() < end_s:
                group.read(timeout_s=1)  # engine fanotify asks handlers here
                live.update(table(handler, options.rows), refresh=True)


if __name__ == "__main__":
    main()

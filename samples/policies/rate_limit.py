"""Print at most so many events a second of each process, and how many were left out."""

import argparse

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, Integer

SECOND_NS = 1_000_000_000


class RateLimit(fan.Handler):
    """
    Send the first events of each process in each second, and skip the others.

    :ivar n_left_out: how many were skipped
    :ivar left_out: the same by process
    """

    name = "rate-limit"
    desc = "send at most so many events a second of one process"
    arguments = (Argument("per_second", Integer(1, 1_000_000), "events of one process that are sent in a second"),)
    depends = fan.Depends.PROCESS
    n_left_out = fan.Counter()
    left_out = fan.StateMap(max_entries=4096, evict=True)
    #: by process and second
    counts = fan.StateMap(max_entries=16384, key_words=2, evict=True)

    def init(self, *, per_second: int) -> None:
        self.per_second = per_second

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        n = self.counts.add((event.tgid, event.time_ns // SECOND_NS), 1)
        if n is None or n <= self.per_second:
            return fan.SEND_TO_USERSPACE
        self.n_left_out.add(1)
        self.left_out.add(event.tgid, 1)
        return fan.SKIP_EVENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("per_second", type=int)
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()
    with fan.Group(engine=options.engine) as group:
        limit = group.attach(RateLimit, per_second=options.per_second).handler
        assert isinstance(limit, RateLimit)
        group.mark(options.directory, fan.Mask.ALL_CHANGES)
        for event in group:
            left_out = limit.left_out.get(event.tgid, 0)
            print(event.tgid, ",".join(event.names), event.path, f"left out: {left_out}", flush=True)


if __name__ == "__main__":
    main()

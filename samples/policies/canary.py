"""Stop a process that renames, rewrites or removes many files a second below a directory, and say which it was."""

import argparse
import os
import select

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, Integer

SECOND_NS = 1_000_000_000
CHANGES = fan.Mask.CLOSE_WRITE | fan.Mask.DELETE | fan.Mask.RENAME


class Canary(fan.Handler):
    """
    Send the event with which a process has changed too many files within one second, and no other. From then on its
    permission events are denied.

    :ivar caught: such processes, and when it was; what is taken out is allowed again
    """

    name = "canary"
    desc = "report, and deny, processes that change many files a second"
    arguments = (Argument("per_second", Integer(1, 1_000_000), "changes a second that are no reason to worry"),)
    depends = fan.Depends.PROCESS | fan.Depends.MASK
    caught = fan.StateMap(max_entries=1024)
    #: by process and second
    counts = fan.StateMap(max_entries=16384, key_words=2, evict=True)

    def init(self, *, per_second: int) -> None:
        self.per_second = per_second

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        is_caught = event.tgid in self.caught
        if event.mask & fan.Mask.ALL_PERM:
            return fan.deny() if is_caught else fan.SKIP_EVENT
        if is_caught or event.tgid == 0 or not event.mask & CHANGES:
            return fan.SKIP_EVENT
        n = self.counts.add((event.tgid, event.time_ns // SECOND_NS), 1)
        if n is None or n <= self.per_second:
            return fan.SKIP_EVENT
        self.caught.put(event.tgid, event.time_ns)
        return fan.SEND_TO_USERSPACE


def stop_there(group: fan.Group, directory: str, canary: Canary) -> None:
    """Deny the processes on the list of *canary* what can be denied on the group's engine."""
    if group.engine == "kernel":
        group.forbid(directory, fan.Mask.ALL_CHANGES_PERM | fan.Mask.OPEN_PERM, processes=canary.caught)
    else:
        group.mark(directory, fan.Mask.OPEN_PERM)


class Caught:
    """Takes processes off the list when they have ended: their numbers will be those of others."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._by_pidfd: dict[int, int] = {}

    def add(self, tgid: int) -> None:
        """Look after one."""
        try:
            self._by_pidfd[os.pidfd_open(tgid)] = tgid
        except OSError:
            self._canary.caught.discard(tgid)

    def wait(self, group: fan.Group) -> None:
        """Wait until there are events or a process has ended."""
        for ready in select.select([group.fileno(), *self._by_pidfd], [], [])[0]:
            if ready in self._by_pidfd:
                self._canary.caught.discard(self._by_pidfd.pop(ready))
                os.close(ready)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("per_second", type=int, help="changes a second that are no reason to worry")
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()
    with fan.Group(engine=options.engine) as group:
        canary = group.attach(Canary, per_second=options.per_second).handler
        assert isinstance(canary, Canary)
        group.mark(options.directory, CHANGES)
        stop_there(group, options.directory, canary)
        caught = Caught(canary)
        while True:
            caught.wait(group)
            for event in group.read(timeout_s=0):
                if event.tgid not in canary.caught:  # what the stream itself has to say
                    print(",".join(event.names), event.path, flush=True)
                    continue
                print("caught:", event.tgid, event.comm, event.exe, "at", event.path, flush=True)
                caught.add(event.tgid)


if __name__ == "__main__":
    main()

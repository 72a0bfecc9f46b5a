"""Run a command, and print who else changes something below a directory meanwhile: ``outside_tree.py DIR make -j2``."""

import argparse
import os
import subprocess

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, IntegerSet


class OutsideTree(fan.Handler):
    """
    Skip what given processes and their descendants do, and what is done in given cgroups; of a process about which
    nothing is known events are sent.

    :ivar trees: the processes, by number; live
    :ivar cgroups: the ids of the cgroups; live
    """

    name = "outside-tree"
    desc = "skip events of given processes, of their descendants and of given cgroups"
    arguments = (
        Argument("tgids", IntegerSet(16), "processes", ()),
        Argument("cgroup_ids", IntegerSet(16), "cgroups, by the inode number of their directory", ()),
    )
    depends = fan.Depends.PROCESS
    trees = fan.StateMap(max_entries=1024)
    cgroups = fan.StateMap(max_entries=1024)

    def init(self, *, tgids: frozenset[int], cgroup_ids: frozenset[int]) -> None:
        for tgid in tgids:
            self.trees.put(tgid, 1)
        for cgroup_id in cgroup_ids:
            self.cgroups.put(cgroup_id, 1)

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.cgroup_id is not None and event.cgroup_id in self.cgroups:
            return fan.SKIP_EVENT
        if event.tgid in self.trees:
            return fan.SKIP_EVENT
        for ancestor in event.ancestors:
            if ancestor in self.trees:
                return fan.SKIP_EVENT
        return fan.SEND_TO_USERSPACE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()
    with fan.Group(engine=options.engine) as group:
        # the command descends from this process: there is no moment in which it is not known
        group.attach(OutsideTree, tgids=[os.getpid()])
        group.mark(options.directory, fan.Mask.ALL_CHANGES)
        with subprocess.Popen(options.command) as command:
            while command.poll() is None:
                for event in group.read(timeout_s=0.2):
                    print(event.comm, event.tgid, ",".join(event.names), event.path, flush=True)


if __name__ == "__main__":
    main()

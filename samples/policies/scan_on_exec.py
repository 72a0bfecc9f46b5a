"""
Scan executables that were written before they run, and let what is bad neither run nor be opened.

The command reads a file from its standard input; its exit status 0 says that the file is good.
"""

import argparse
import os
import stat
import subprocess
from collections.abc import Callable

import fanotify_fastpath as fan
from fanotify_fastpath.arguments import Argument, Choice

#: what can make a file another one, or one that can be run
CHANGES = fan.Mask.MODIFY | fan.Mask.CLOSE_WRITE | fan.Mask.CREATE | fan.Mask.RENAME | fan.Mask.ATTRIB
#: when it may be scanned: not after each piece that is written
READY = CHANGES & ~fan.Mask.MODIFY | fan.Mask.OPEN_EXEC
#: who goes on writing is not waited for: closing the file will be told
SCANS_MAX = 2
FORBIDDEN = fan.Mask.OPEN_PERM | fan.Mask.OPEN_EXEC_PERM


class ScanOnExec(fan.Handler):
    """
    Remember which files were changed, and send an event when one of them is ready to be scanned. Permission events are
    denied for what is bad, and with ``unscanned="deny"`` for what was not scanned since its last change.

    :ivar unscanned: changed files, by device and inode number
    :ivar bad: those that the last scan found bad; only the user writes here
    :ivar n_changes: how often they were changed, never forgotten while there is room
    :ivar n_forgotten: changes for which a list had no room
    """

    name = "scan-on-exec"
    desc = "remember which files were changed and not scanned, and which are bad"
    arguments = (
        Argument("files", Choice(("executable", "all")), "which files are to be scanned", "executable"),
        Argument("while_unscanned", Choice(("allow", "deny")), "what is answered before the scan", "allow"),
    )
    unscanned = fan.StateMap(max_entries=65536, key_words=2)
    bad = fan.StateMap(max_entries=65536, key_words=2)
    n_changes = fan.StateMap(max_entries=131072, key_words=2, evict=True)
    n_forgotten = fan.Counter()
    scans_all: bool
    is_strict: bool

    def init(self, *, files: str, while_unscanned: str) -> None:
        self.scans_all = files == "all"
        self.is_strict = while_unscanned == "deny"

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        if event.is_dir:
            return fan.SKIP_EVENT
        if event.dev is None or event.inode is None:
            return fan.SEND_TO_USERSPACE
        if event.mask & fan.Mask.ALL_PERM:
            return fan.deny() if self._is_denied(event.mask, event.dev, event.inode) else fan.SKIP_EVENT
        if not event.n_links:  # its last name is gone: its number may be that of another file next
            self.unscanned.discard((event.dev, event.inode))
            self.bad.discard((event.dev, event.inode))
            return fan.SKIP_EVENT
        if event.mask & CHANGES and self._is_meant(event):
            # in this order: see judge()
            self.n_changes.add((event.dev, event.inode), 1)
            if not self.unscanned.put((event.dev, event.inode), 1):
                self.n_forgotten.add(1)
        if event.mask & READY and (event.dev, event.inode) in self.unscanned:
            return fan.SEND_TO_USERSPACE
        return fan.SKIP_EVENT

    def _is_denied(self, mask: int, dev: int, inode: int) -> bool:
        if self.is_strict and mask & fan.Mask.OPEN_EXEC_PERM and (dev, inode) in self.unscanned:
            return True
        return (dev, inode) in self.bad

    def _is_meant(self, event: fan.HandlerEvent) -> bool:
        if event.mode is None:
            return True
        return stat.S_ISREG(event.mode) and (self.scans_all or event.mode & 0o111 != 0)


def judge(handler: ScanOnExec, path: str, is_good: Callable[[int], bool]) -> bool | None:
    """
    Scan a file if it was changed since its last scan, and remember what came of it.

    :param is_good: is given a descriptor of the file
    :return: whether it is good; None when there was nothing to scan
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # gone, or replaced; what is there now has events of its own
        return None
    try:
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino)
        verdict = None
        for _ in range(SCANS_MAX):
            if not stat.S_ISREG(status.st_mode) or key not in handler.unscanned:
                break
            n_before = handler.n_changes.get(key)
            os.lseek(fd, 0, os.SEEK_SET)
            verdict = is_good(fd)
            if verdict:
                handler.bad.discard(key)
            else:
                handler.bad.put(key, 1)
            handler.unscanned.discard(key)
            # the handler counts a change before it puts the file on the list: none gets lost between these two lines
            if handler.n_changes.get(key) != n_before:
                handler.unscanned.put(key, 1)
        return verdict
    finally:
        os.close(fd)


def protect(group: fan.Group, directory: str, handler: ScanOnExec) -> None:
    """Watch a directory, and deny what is on the handler's lists."""
    group.mark(directory, CHANGES | READY | fan.Mask.DELETE)
    if group.engine != "kernel":
        group.mark(directory, FORBIDDEN)
        return
    group.forbid(directory, FORBIDDEN, objects=handler.bad)
    if handler.is_strict:
        group.forbid(directory, fan.Mask.OPEN_EXEC_PERM, objects=handler.unscanned)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parser.add_argument("--all", action="store_true", help="scan every file, not only executables")
    parser.add_argument("--strict", action="store_true", help="nothing runs before it was scanned")
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()

    def is_good(fd: int) -> bool:
        return subprocess.run(options.command, stdin=fd, stdout=subprocess.DEVNULL, check=False).returncode == 0

    with fan.Group(engine=options.engine) as group:
        handler = group.attach(
            ScanOnExec,
            files="all" if options.all else "executable",
            while_unscanned="deny" if options.strict else "allow",
        ).handler
        assert isinstance(handler, ScanOnExec)
        protect(group, options.directory, handler)
        for event in group:
            verdict = None if event.path is None else judge(handler, event.path, is_good)
            if verdict is not None:
                print("good:" if verdict else "bad:", event.path, flush=True)


if __name__ == "__main__":
    main()

"""
The directory of the shared list, which only its owner writes: reading it, and changing it alone.

A handler's directory appears complete, by one rename, and vanishes by another. Who changes the list has its lock
meanwhile; what a process that was killed left half done, the next one removes.
"""

import contextlib
import os
from collections.abc import Iterator

from fanotify_fastpath._modules import locks
from fanotify_fastpath._modules.entries import Entry, decode, read_entry, write_stats
from fanotify_fastpath._modules.trust import check_trusted
from fanotify_fastpath.errors import HandlerNotFound, NotPermitted

#: how the directory of a handler is called that is not, or no more, listed; no handler's name begins with a dot
UNFINISHED = b".new-"
_LOCK = b".lock"


class Directory:
    """
    The directory of a list.

    :ivar directory: where it is
    :ivar readable: a directory on a bpf filesystem, for the same as files of the kernel's
    :ivar owner_uid: who may change it
    """

    def __init__(self, directory: bytes, readable: bytes, owner_uid: int) -> None:
        self.directory = directory
        self.readable = readable
        self.owner_uid = owner_uid

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.names()

    def names(self) -> list[str]:
        """Names of the handlers, sorted."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(decode(name) for name in found if not name.startswith(b"."))

    def entry(self, name: str) -> Entry:
        """
        Read about one handler.

        :raises HandlerNotFound: it is not listed
        """
        return read_entry(self.directory, name)

    def entries(self) -> Iterator[Entry]:
        """Read about all."""
        for name in self.names():
            with contextlib.suppress(HandlerNotFound):  # unloaded meanwhile
                yield self.entry(name)

    def is_listed(self, entry: Entry) -> bool:
        """Whether that is still the entry of that name."""
        try:
            return self.entry(entry.name).record.token == entry.record.token
        except HandlerNotFound:
            return False

    def note(self, entry: Entry, n_more: int) -> None:
        """Bring ``stats`` up to date; only the owner of the list can. It is no reason for an attach to fail."""
        if os.geteuid() != self.owner_uid:
            return
        with contextlib.suppress(OSError), self.changing():
            if self.is_listed(entry):
                n_since_load = entry.stats()["attachments_since_load"] + n_more
                write_stats(entry.path, entry.count(), n_since_load)
                if entry.record.counts_id is not None and n_more:
                    from fanotify_fastpath._modules.readable import set_count

                    set_count(entry.record.counts_id, n_since_load)

    def make(self) -> None:
        """Make the directory, if it is not there."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.directory)
            os.chmod(self.directory, 0o755)  # whatever the umask is

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """
        Be the only one that changes the list, and remove what another left half done.

        :raises PathNotFound: nothing was ever loaded
        :raises NotPermitted: somebody else than its owner could change the list
        """
        self.check_trusted(self.directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self.directory + b"/" + _LOCK, flags, 0o600), "r+b", buffering=0) as lock:
            locks.wait(lock.fileno())
            self._sweep()
            yield

    def _sweep(self) -> None:
        import shutil

        from fanotify_fastpath._modules import readable

        names = os.listdir(self.directory)
        for name in names:
            if name.startswith(UNFINISHED):
                shutil.rmtree(self.directory + b"/" + name)
        for name in readable.pinned(self.readable):
            if name not in names:
                readable.unpin(self.readable, name)

    def check_trusted(self, path: bytes) -> None:
        """
        Check that nobody but root and the owner of the list can change a file.

        :raises NotPermitted: somebody else can
        :raises PathNotFound: it is not there
        """
        check_trusted(path, self.owner_uid)

    def check_may_change(self, verb: str) -> None:
        """
        Check that this process may change the list.

        :param verb: what it is about to do, for the message
        :raises NotPermitted: it may not
        """
        if os.geteuid() != self.owner_uid:
            raise NotPermitted(
                f"cannot {verb} handlers for all processes: that takes user {self.owner_uid}, and this is user "
                f"{os.geteuid()}; fanotify_fastpath.modules.load serves this process alone"
            )

"""
The list of handlers that all processes share: loading handlers for all, unloading them, and attaching what is listed.

A process that attaches a handler runs its code itself; the list says where that is (:mod:`.entries`).
"""

import contextlib
import os
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from typing import IO

from fanotify_fastpath._modules import locks
from fanotify_fastpath._modules.directory import UNFINISHED, Directory
from fanotify_fastpath._modules.entries import Entry, Record, encode, write_entry, write_record
from fanotify_fastpath._modules.sources import normal, read_source
from fanotify_fastpath.declaration import declared, describe
from fanotify_fastpath.errors import FastpathError, HandlerBusy, HandlerExists, HandlerNotFound
from fanotify_fastpath.handlers import Handler

DIRECTORY = b"/run/fanotify_fastpath"
#: the same as files that the kernel writes when they are read
READABLE = b"/sys/fs/bpf/fanotify_fastpath"


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    What came of loading a source for all.

    :ivar names: the handlers that are listed now
    :ivar unreadable: why they cannot be read as files of the kernel's too; empty when they can
    """

    names: tuple[str, ...]
    unreadable: str = ""


class Listing(Directory):
    """
    A shared list.

    :param directory: where it is
    :param readable: a directory on a bpf filesystem, made when the first handler is loaded
    :param owner_uid: who may change it
    """

    def __init__(self, directory: bytes = DIRECTORY, readable: bytes = READABLE, owner_uid: int = 0) -> None:
        super().__init__(directory, readable, owner_uid)
        self._found: dict[str, type[Handler]] = {}
        self._entries: dict[type[Handler], Entry] = {}

    # --- attaching ---

    def find(self, name: str) -> type[Handler]:
        """
        Give a listed handler, by running its code if that was not done before in this process.

        :raises HandlerNotFound: it is not listed, its source is gone, or declares something else than it did
        :raises NotPermitted: somebody else than the list's owner could change the list or the code
        :raises SourceRefused: the code does not work
        """
        entry = self.entry(name)
        self.check_trusted(self.directory)
        token = entry.record.token
        if token not in self._found or not self._is_there(entry):
            self._found[token] = self._read(entry)
        handler = self._found[token]
        self._entries[handler] = entry
        return handler

    def borrow(self, handler: type[Handler]) -> Callable[[], None]:
        """
        Use a handler: until the end of the process, or that the function returned is called, it counts as in use.

        :raises HandlerNotFound: it was unloaded just now
        """
        if handler not in self._entries:
            return lambda: None
        entry = self._entries[handler]
        lock = self._share(entry)
        self.note(entry, +1)

        def give_back() -> None:
            locks.release(lock.fileno())
            lock.close()
            self.note(entry, 0)

        return give_back

    def _is_there(self, entry: Entry) -> bool:
        source = entry.record.source
        return not source.startswith("/") or os.path.exists(source)

    def _read(self, entry: Entry) -> type[Handler]:
        source = entry.record.source
        try:
            handlers = {handler.name: handler for handler in read_source(source, self.check_trusted)}
        except FileNotFoundError as exc:
            raise HandlerNotFound(f"handler {entry.name!r} is delisted: its source {source!r} is gone") from exc
        handler = handlers.get(entry.name)
        if handler is None or describe(handler) != entry.texts:
            raise HandlerNotFound(
                f"handler {entry.name!r} is not in {source!r} any more as it was loaded; unload it and load it again"
            )
        return handler

    def _share(self, entry: Entry) -> IO[bytes]:
        gone = HandlerNotFound(f"no handler named {entry.name!r} is listed any more")
        try:
            lock: IO[bytes] = entry.open_lock()
        except FileNotFoundError:
            raise gone from None
        if not locks.share(lock.fileno()) or not self.is_listed(entry):
            lock.close()
            raise gone
        return lock

    # --- changing ---

    def load(self, source: str, taken: Container[str] = ()) -> Loaded:
        """
        List the handlers of a source, all or none.

        :param source: a package or file
        :param taken: names that every process has already
        :raises NotPermitted: this user may not change the list, or others could change the code
        :raises HandlerExists: one of the names is taken
        :raises HandlerNotFound: no such package
        :raises PathNotFound: no such file
        :raises SourceRefused: the code does not work, or has no handlers
        """
        self.check_may_change("load")
        source = normal(source)
        handlers = read_source(source, self.check_trusted)
        reasons: dict[str, str] = {}
        self.make()
        with self.changing():
            try:
                for handler in handlers:
                    if handler.name in taken or handler.name in self:
                        raise HandlerExists(
                            f"cannot load {source!r}: a handler named {handler.name!r} is there already"
                        )
                    reasons[handler.name] = self._add(handler, source)
            except BaseException:
                self._remove(reasons)
                raise
        return Loaded(tuple(reasons), next(filter(None, reasons.values()), ""))

    def unload(self, what: str, *, force: bool = False) -> tuple[str, ...]:
        """
        Delist one handler, or all of a source.

        :param what: a name or a source
        :param force: also what is in use: groups that have it keep it
        :return: the names
        :raises NotPermitted: this user may not change the list
        :raises HandlerNotFound: no such handler or source
        :raises HandlerBusy: one of them is in use
        """
        self.check_may_change("unload")
        if not self.names():
            raise _not_loaded(what)
        with self.changing(), contextlib.ExitStack() as held:
            entries = [self.entry(what)] if what in self else self._of_source(what)
            for entry in entries if not force else ():
                lock = held.enter_context(entry.open_lock(writable=True))
                if not locks.take(lock.fileno()):
                    raise HandlerBusy(
                        f"cannot unload handler {entry.name!r}: {entry.count()} attach(es) use it; "
                        "detach it first, or delist it by force"
                    )
            names = tuple(entry.name for entry in entries)
            self._remove(names)
            return names

    def _of_source(self, what: str) -> list[Entry]:
        found = []
        with contextlib.suppress(FastpathError):
            source = normal(what)
            found = [entry for entry in self.entries() if entry.record.source == source]
        if not found:
            raise _not_loaded(what)
        return found

    def _add(self, handler: type[Handler], source: str) -> str:
        name = encode(handler.name)
        new = self.directory + b"/" + UNFINISHED + name
        os.mkdir(new, 0o700)
        record, texts = Record(os.urandom(16).hex(), source, declared(handler)), describe(handler)
        write_entry(new, record, texts)
        reason = ""
        try:
            from fanotify_fastpath._modules import readable

            counts_id = readable.pin(self.readable, name, texts, new)
            write_record(new, replace(record, counts_id=counts_id))
        except (FastpathError, OSError) as exc:
            reason = str(exc)
        os.chmod(new, 0o755)
        os.rename(new, self.directory + b"/" + name)
        return reason

    def _remove(self, names: Iterable[str]) -> None:
        import shutil

        from fanotify_fastpath._modules import readable

        for name in names:
            old = self.directory + b"/" + UNFINISHED + encode(name)
            os.rename(self.directory + b"/" + encode(name), old)
            readable.unpin(self.readable, encode(name))
            shutil.rmtree(old)


def _not_loaded(what: str) -> HandlerNotFound:
    return HandlerNotFound(f"nothing named {what!r}, or from a source of that name, is loaded")


#: the list of this machine
shared_list = Listing()

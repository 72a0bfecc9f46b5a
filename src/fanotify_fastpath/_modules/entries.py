"""
One handler of the shared list, as files: ``flags``, ``desc``, ``init_args`` and ``stats`` for everybody to read.

Besides these there are ``.record``, which says where the code is, and ``.lock``, of which every attach holds a shared
lock (:mod:`.locks`): so the kernel knows who uses the handler, also when a process is killed.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanotify_fastpath._modules import locks
from fanotify_fastpath.errors import HandlerNotFound

RECORD, LOCK, STATS = b".record", b".lock", b"stats"
#: the texts that are as a handler declares them
TEXTS = ("flags", "desc", "init_args")


@dataclass(frozen=True, slots=True)
class Record:
    """
    What is known of a listed handler besides its texts.

    :ivar token: of this listing; the same name listed again has another one
    :ivar source: where the code is
    :ivar declared: as :func:`fanotify_fastpath.declaration.declared` gives it
    :ivar counts_id: number of the BPF map that counts attaches, if there is one
    """

    token: str
    source: str
    declared: Mapping[str, Any]
    counts_id: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A listed handler as it is read.

    :ivar name: its name
    :ivar path: its directory
    :ivar record: what is known besides
    :ivar texts: contents of ``flags``, ``desc`` and ``init_args``
    """

    name: str
    path: bytes
    record: Record
    texts: Mapping[str, str]

    def count(self) -> int:
        """Number of attaches that live now, in all processes."""
        with contextlib.closing(self.open_lock()) as lock:
            return locks.count(lock.fileno())

    def stats(self) -> dict[str, int]:
        """What ``stats`` says: how many are attached, as was known at the last change, and how many have been."""
        return dict(_number(line) for line in _read(self.path + b"/" + STATS).splitlines())

    def open_lock(self, *, writable: bool = False) -> Any:
        """Open the file that attaches lock."""
        return open(self.path + b"/" + LOCK, "r+b" if writable else "rb", buffering=0)


def encode(name: str) -> bytes:
    """The file name of a handler."""
    return name.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """The opposite of :func:`encode`."""
    return name.decode("utf-8", "surrogateescape")


def write_entry(path: bytes, record: Record, texts: Mapping[str, str]) -> None:
    """
    Fill the directory of a handler.

    :param path: an empty directory
    """
    for name in TEXTS:
        _write(path + b"/" + name.encode(), texts[name])
    write_stats(path, 0, 0)
    write_record(path, record)
    _write(path + b"/" + LOCK, "")


def write_record(path: bytes, record: Record) -> None:
    """Write what is known besides the texts."""
    values = [record.token, record.source, dict(record.declared), record.counts_id]
    _write(path + b"/" + RECORD, json.dumps(values))


def write_stats(path: bytes, n_now: int, n_since_load: int) -> None:
    """Replace the numbers of attaches."""
    _write(path + b"/.stats", f"attachments {n_now}\nattachments_since_load {n_since_load}\n")
    os.rename(path + b"/.stats", path + b"/" + STATS)


def read_entry(directory: bytes, name: str) -> Entry:
    """
    Read one handler of a list.

    :raises HandlerNotFound: it is not listed
    """
    path = directory + b"/" + encode(name)
    try:
        texts = {text: _read(path + b"/" + text.encode()) for text in TEXTS}
        record = Record(*json.loads(_read(path + b"/" + RECORD)))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise HandlerNotFound(f"no handler named {name!r} is listed") from exc
    return Entry(name, path, record, texts)


def _write(path: bytes, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644), "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(encode(text))


def _read(path: bytes) -> str:
    with open(path, "rb") as file:
        return decode(file.read())


def _number(line: str) -> tuple[str, int]:
    name, value = line.split()
    return name, int(value)

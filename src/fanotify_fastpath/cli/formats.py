"""Formats for machines: JSON, CSV and fatrace's compact line. ``human`` and ``template`` have the others."""

import base64
import csv
import io
import os
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import Protocol

from fanotify_fastpath.cli.text import decode, encode, escape
from fanotify_fastpath.events import Event, Process
from fanotify_fastpath.mask import Mask, mask_names

#: keys of a JSON object and columns of CSV, in order
KEYS = (
    "time_ns", "mask", "path", "old_path", "crossing", "is_dir", "tgid", "tid", "uid", "comm", "dev", "inode",
    "undecided", "lost", "engine",
)  # fmt: skip
_MAX_CACHED = 4096
_UNKNOWN = "?"
_OVERFLOW = int(Mask.Q_OVERFLOW)


class Format(Protocol):
    """
    How events are written.

    :ivar header: written once, before everything
    """

    header: str

    def line(self, event: Event) -> str:
        """One event, without the character that ends it."""
        ...

    def begin(self) -> None:
        """A list of events follows, all of about now."""


class Writer:
    """
    Turns lists of events into bytes.

    :param end: ends each line
    :param is_batched: separate batches: a JSON array each, or an empty line between them
    """

    def __init__(self, style: Format, end: str = "\n", *, is_batched: bool = False) -> None:
        self._style = style
        self._end = end
        self._is_batched = is_batched
        self._is_first = True

    def render(self, events: list[Event]) -> bytes:
        """The bytes of one list of events (one batch, if there are batches)."""
        self._style.begin()
        end, line = self._end, self._style.line
        if self._is_batched and isinstance(self._style, JsonFormat):
            return encode("[" + ",".join([line(event) for event in events]) + "]" + end)
        text = end.join([line(event) for event in events]) + end
        if self._is_first:
            self._is_first = False
            text = self._style.header + text
        elif self._is_batched:
            text = end + text
        return encode(text)


class JsonFormat:
    """One object with exactly :data:`KEYS`, and ``path_b64`` or ``old_path_b64`` for a path that is no UTF-8."""

    header = ""

    def __init__(self) -> None:
        self._masks: dict[int, str] = {}
        self._processes: dict[tuple[int | None, str | None], str] = {}

    def begin(self) -> None: ...

    def line(self, event: Event) -> str:
        bits = int(event.mask)
        mask = self._masks.get(bits)
        if mask is None:
            mask = self._mask_text(bits)
        raw = event.raw_path
        old_raw = event.raw_old_path
        try:
            path = "null" if raw is None else quote(raw.decode())
            old_path = "null" if old_raw is None else quote(old_raw.decode())
            extra = ""
        except UnicodeDecodeError:
            path, old_path, extra = _odd_paths(raw, old_raw)
        process = event.process
        who = self._processes.get((process.uid, process.comm))
        if who is None:
            who = self._process_text(process)
        # Unknown numbers are None, or 0 for the process: of neither can anything be said.
        tid, dev, inode, lost = event.tid, event.dev, event.inode, event.lost
        return (
            f'{{"time_ns":{event.time_ns},"mask":{mask},"path":{path},"old_path":{old_path},'
            f'"crossing":{_CROSSING[event.crossing]},"is_dir":{"true" if event.is_dir else "false"},'
            f'"tgid":{event.tgid or "null"},"tid":{"null" if tid is None else tid},{who},'
            f'"dev":{"null" if dev is None else dev},"inode":{"null" if inode is None else inode},'
            f'"undecided":{"true" if event.undecided else "false"},"lost":{"null" if lost is None else lost},'
            f'"engine":"{event.engine}"{extra}}}'
        )

    def _mask_text(self, bits: int) -> str:
        text = self._masks[bits] = "[" + ",".join(f'"{name}"' for name in mask_names(bits)) + "]"
        return text

    def _process_text(self, process: Process) -> str:
        if len(self._processes) >= _MAX_CACHED:
            self._processes.clear()
        uid = "null" if process.uid is None else process.uid
        comm = "null" if process.comm is None else quote(process.comm)
        text = self._processes[process.uid, process.comm] = f'"uid":{uid},"comm":{comm}'
        return text


_CROSSING = {None: "null", "in": '"in"', "out": '"out"'}


def _odd_paths(raw: bytes | None, old_raw: bytes | None) -> tuple[str, str, str]:
    """JSON text of two paths of which one at least is no UTF-8, and the keys to add."""
    texts, extra = [], ""
    for key, value in (("path", raw), ("old_path", old_raw)):
        if value is None:
            texts.append("null")
            continue
        text = decode(value)
        texts.append(quote(text))
        if any("\udc80" <= char <= "\udcff" for char in text):
            extra += f',"{key}_b64":"{base64.b64encode(value).decode()}"'
    return texts[0], texts[1], extra


#: up to Python 3.12, of control characters only those in the line's end are put into quotes
_CSV_END = "\r\n"


class CsvFormat:
    """The columns of :data:`KEYS`: event types are joined with ``|``, what is unknown is empty, names are raw bytes."""

    header = ",".join(KEYS) + "\n"

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator=_CSV_END)

    def begin(self) -> None: ...

    def line(self, event: Event) -> str:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(
            (
                event.time_ns,
                "|".join(mask_names(event.mask)),
                None if event.raw_path is None else decode(event.raw_path),
                None if event.raw_old_path is None else decode(event.raw_old_path),
                event.crossing,
                int(event.is_dir),
                event.tgid or None,
                event.tid,
                event.uid,
                event.comm,
                event.dev,
                event.inode,
                int(event.undecided),
                event.lost,
                event.engine,
            )
        )
        return self._buffer.getvalue().removesuffix(_CSV_END)


# fatrace's letters: R read, W write, C close, O open, + create, D delete, < moved from, > moved to; ours: A attributes,
# X opened to be executed, <> renamed.
_LETTERS = (
    (Mask.ACCESS | Mask.ACCESS_PERM | Mask.PRE_ACCESS, "R"),
    (Mask.CLOSE_WRITE | Mask.CLOSE_NOWRITE, "C"),
    (Mask.MODIFY | Mask.CLOSE_WRITE, "W"),
    (Mask.OPEN | Mask.OPEN_PERM, "O"),
    (Mask.OPEN_EXEC | Mask.OPEN_EXEC_PERM, "X"),
    (Mask.ATTRIB, "A"),
    (Mask.CREATE, "+"),
    (Mask.DELETE | Mask.DELETE_SELF, "D"),
    (Mask.MOVED_FROM | Mask.RENAME, "<"),
    (Mask.MOVED_TO | Mask.RENAME | Mask.MOVE_SELF, ">"),
)
_LETTER_BITS = [(int(bits), letter) for bits, letter in _LETTERS]


class CompactFormat:
    """fatrace's line, ``comm(tgid): CW /path``. With *raw*, names are not escaped."""

    header = ""

    def __init__(self, *, raw: bool = False) -> None:
        self._show: Callable[[str], str] = str if raw else escape
        self._types: dict[int, str] = {}

    def begin(self) -> None: ...

    def line(self, event: Event) -> str:
        bits = int(event.mask)
        types = self._types.get(bits)
        if types is None:
            letters = "".join(letter for mask, letter in _LETTER_BITS if bits & mask)
            types = self._types[bits] = letters or ",".join(mask_names(bits)).upper()
        who = _UNKNOWN if event.comm is None else self._show(event.comm)
        return f"{who}({event.tgid or _UNKNOWN}): {types} {what(event, self._show)}"


def what(event: Event, show: Callable[[str], str]) -> str:
    """What an event is about: its path or paths, or what else is known."""
    if int(event.mask) & _OVERFLOW:
        return "events were lost, their number is unknown" if event.lost is None else f"{event.lost} events were lost"
    path = _place(event) if event.raw_path is None else show(decode(event.raw_path))
    if event.raw_old_path is not None:
        return f"{show(decode(event.raw_old_path))} -> {path}"
    return path


def _place(event: Event) -> str:
    """As fatrace says it when there is no path."""
    if event.dev is None:
        return _UNKNOWN
    return f"device {os.major(event.dev)}:{os.minor(event.dev)} inode {event.inode or _UNKNOWN}"


class Clock:
    """Turns CLOCK_BOOTTIME, which events have, into the time of day; :meth:`sync` follows changes of the latter."""

    def __init__(self) -> None:
        self.offset_ns = 0
        self.sync()

    def sync(self) -> None:
        """Read both clocks."""
        self.offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def seconds_and_ns(self, time_ns: int) -> tuple[int, int]:
        """Seconds since the epoch, and the nanoseconds on top."""
        return divmod(time_ns + self.offset_ns, 1_000_000_000)

"""
``--format``: a line in the user's own words, with inotifywait's escapes and some by name.

The escapes are those of inotifywait(1) 3.22: ``%w %f %e %Xe %T %0 %n %%``.
"""

import time
from collections.abc import Callable

from fanotify_fastpath.cli.exits import UsageError
from fanotify_fastpath.cli.formats import Clock
from fanotify_fastpath.cli.text import decode
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import Mask, mask_names

DEFAULT_TIMEFMT = "%Y-%m-%dT%H:%M:%S%z"
Part = Callable[[Event], str]


def _text(value: object) -> str:
    return "" if value is None else str(value)


#: fields by name: ``%{comm}``
FIELDS: dict[str, Part] = {
    "path": lambda event: "" if event.raw_path is None else decode(event.raw_path),
    "old_path": lambda event: "" if event.raw_old_path is None else decode(event.raw_old_path),
    "mask": lambda event: ",".join(mask_names(event.mask)),
    "crossing": lambda event: event.crossing or "",
    "tgid": lambda event: _text(event.tgid or None),
    "tid": lambda event: _text(event.tid),
    "uid": lambda event: _text(event.uid),
    "comm": lambda event: event.comm or "",
    "exe": lambda event: event.exe or "",
    "dev": lambda event: _text(event.dev),
    "inode": lambda event: _text(event.inode),
    "lost": lambda event: _text(event.lost),
    "time_ns": lambda event: str(event.time_ns),
}


def directory(event: Event) -> str:
    """``%w``: the directory that the object lies in, with its slash."""
    path = decode(event.raw_path or b"")
    return path[: path.rfind("/") + 1]


def file_name(event: Event) -> str:
    """``%f``: the object's name in that directory."""
    path = decode(event.raw_path or b"")
    return path[path.rfind("/") + 1 :]


def inotify_names(event: Event, separator: str) -> str:
    """``%e`` as inotifywait says it: upper case, ``CLOSE`` beside the kind of close, ``ISDIR`` for a directory."""
    names = [name.upper() for name in mask_names(event.mask)]
    if event.mask & Mask.CLOSE:
        names.append("CLOSE")
    if event.is_dir:
        names.append("ISDIR")
    return separator.join(names)


class TemplateFormat:
    """
    A template that was compiled once.

    :param template: text with escapes
    :param timefmt: what ``%T`` stands for, as strftime(3) has it
    :raises UsageError: an escape is unknown
    """

    header = ""

    def __init__(self, template: str, timefmt: str | None = None) -> None:
        self._timefmt = DEFAULT_TIMEFMT if timefmt is None else timefmt
        self._clock = Clock()
        self._second = -1
        self._second_text = ""
        self._parts = self._compile(template)

    def begin(self) -> None:
        self._clock.sync()

    def line(self, event: Event) -> str:
        return "".join([part(event) for part in self._parts])

    def _time(self, event: Event) -> str:
        second, _ = self._clock.seconds_and_ns(event.time_ns)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime(self._timefmt, time.localtime(second))
        return self._second_text

    def _compile(self, template: str) -> list[Part]:
        parts: list[Part] = []
        rest = template
        while rest:
            literal, percent, rest = rest.partition("%")
            if literal:
                parts.append(_constant(literal))
            if percent:
                part, length = self._escape(rest, template)
                parts.append(part)
                rest = rest[length:]
        return parts

    def _escape(self, rest: str, template: str) -> tuple[Part, int]:
        """The escape that *rest* begins with (after its ``%``), and its length."""
        simple: dict[str, Part] = {
            "w": directory,
            "f": file_name,
            "e": lambda event: inotify_names(event, ","),
            "T": self._time,
            "0": _constant("\0"),
            "n": _constant("\n"),
            "%": _constant("%"),
        }
        if rest[:1] in simple:
            return simple[rest[0]], 1
        name, brace, _ = rest[1:].partition("}")
        if rest.startswith("{") and brace and name in FIELDS:
            return FIELDS[name], len(name) + 2
        if rest[1:2] == "e":
            separator = rest[0]
            return (lambda event: inotify_names(event, separator)), 2
        raise UsageError(
            f"unknown escape %{rest[:1]} in --format {template!r}; known are %w %f %e %Xe %T %0 %n %% and "
            + " ".join(f"%{{{field}}}" for field in FIELDS)
        )


def _constant(text: str) -> Part:
    return lambda event: text

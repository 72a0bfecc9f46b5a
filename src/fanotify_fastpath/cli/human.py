"""The line for a person: time, operation, who, what; aligned, and coloured on a terminal."""

import time
from collections.abc import Callable

from fanotify_fastpath.cli.formats import Clock, what
from fanotify_fastpath.cli.text import escape
from fanotify_fastpath.events import Event
from fanotify_fastpath.mask import STREAM_EVENTS, Mask, mask_names

_MASK_WIDTH = 20
_WHO_WIDTH = 30
_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
# the first that fits decides
_COLOURS = (
    (STREAM_EVENTS | Mask.FS_ERROR, "\x1b[1;31m"),
    (Mask.ALL_PERM, "\x1b[31m"),
    (Mask.DELETE | Mask.DELETE_SELF, "\x1b[31m"),
    (Mask.CREATE, "\x1b[32m"),
    (Mask.RENAME | Mask.MOVE | Mask.MOVE_SELF, "\x1b[35m"),
    (Mask.MODIFY | Mask.CLOSE_WRITE, "\x1b[33m"),
    (Mask.ATTRIB, "\x1b[36m"),
)
_COLOUR_BITS = [(int(bits), colour) for bits, colour in _COLOURS]
_ADVICE = {
    int(Mask.RESCAN): "may have changed unseen: read it anew",
    int(Mask.ROOT_GONE): "is gone, nothing more will come from it",
    int(Mask.UNMOUNT): "was unmounted",
    int(Mask.UNWATCHED): "cannot be watched: blind there",
}


class HumanFormat:
    """
    ``12:34:56.789  create,close_write   bash(1234) root   /srv/a/file``

    :param colour: use colours
    :param raw: names are not escaped
    """

    header = ""

    def __init__(self, *, colour: bool = False, raw: bool = False) -> None:
        self._show: Callable[[str], str] = str if raw else escape
        self._is_coloured = colour
        self._clock = Clock()
        self._masks: dict[int, str] = {}
        self._second = -1
        self._second_text = ""
        self._users: dict[int, str] = {}

    def begin(self) -> None:
        self._clock.sync()

    def line(self, event: Event) -> str:
        bits = int(event.mask)
        mask = self._masks.get(bits)
        if mask is None:
            mask = self._masks[bits] = self._mask_text(bits)
        who = f"{self._who(event):{_WHO_WIDTH}}"
        stamp = self._time_text(event.time_ns)
        if self._is_coloured:
            stamp, who = f"{_DIM}{stamp}{_RESET}", f"{_DIM}{who}{_RESET}"
        return f"{stamp}  {mask}  {who}  {self._what(event, bits)}"

    def _what(self, event: Event, bits: int) -> str:
        text = what(event, self._show)
        if event.is_dir and event.raw_path is not None and not text.endswith("/"):
            text += "/"
        if bits in _ADVICE:
            text += f"  ({_ADVICE[bits]})"
        if event.crossing:
            text += f"  (moved {event.crossing})"
        if event.undecided:
            text += "  (undecided)"
        return text

    def _who(self, event: Event) -> str:
        if not event.tgid:
            return "-"
        comm = "?" if event.comm is None else self._show(event.comm)
        thread = "" if event.tid is None or event.tid == event.tgid else f"/{event.tid}"
        return f"{comm}({event.tgid}{thread}) {self._user(event.uid)}"

    def _user(self, uid: int | None) -> str:
        if uid is None:
            return "?"
        name = self._users.get(uid)
        if name is None:
            name = self._users[uid] = user_name(uid)
        return name

    def _mask_text(self, bits: int) -> str:
        text = f"{','.join(mask_names(bits)):{_MASK_WIDTH}}"
        if self._is_coloured:
            for mask, colour in _COLOUR_BITS:
                if bits & mask:
                    return f"{colour}{text}{_RESET}"
        return text

    def _time_text(self, time_ns: int) -> str:
        second, rest_ns = self._clock.seconds_and_ns(time_ns)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%H:%M:%S", time.localtime(second))
        return f"{self._second_text}.{rest_ns // 1_000_000:03}"


def user_name(uid: int) -> str:
    """Name of a user, or the number where there is none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

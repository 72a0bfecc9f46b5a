"""``fanfp ps``: whom the daemon serves, and with what."""

import argparse
import json
import pwd
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from fanotify_fastpath._probes.daemon import Inquiry
from fanotify_fastpath._wire.messages import GroupStatus
from fanotify_fastpath.cli.exits import Exit
from fanotify_fastpath.cli.text import escape

if TYPE_CHECKING:
    from rich.table import Table

#: heads of the table's columns; numbers stand on the right
COLUMNS = ("group", "user", "tgid", "client", "age", "sets", "roots", "marks", "ring", "told", "lost", "withheld")
_ON_THE_LEFT = ("user", "client")
_KIB = 1024


def run(options: argparse.Namespace) -> int:
    """Ask the daemon and print; return the exit code."""
    with Inquiry() as inquiry:
        groups = list(inquiry.groups())
    if options.json:
        print(json.dumps([as_dict(group) for group in groups], indent=2))
    else:
        _print(groups)
    return Exit.DONE


def as_dict(group: GroupStatus) -> dict[str, object]:
    """A group for machines; ``tgid`` is null for a process that the daemon does not see."""
    return {**msgspec.structs.asdict(group), "tgid": group.tgid or None}


def row(group: GroupStatus) -> tuple[str, ...]:
    """A group for people; what the daemon does not tell is ``-``."""
    counters = group.counters
    told, withheld = (str(counters.get(name, "-")) for name in ("n_put", "n_withheld"))
    return (
        str(group.group),
        user_name(group.uid),
        str(group.tgid or "-"),
        group.client,
        duration(group.age_s),
        str(group.n_sets),
        str(group.n_roots),
        str(group.n_marks),
        size(group.ring_bytes),
        told,
        str(n_lost(group)),
        withheld,
    )


def user_name(uid: int) -> str:
    """The name of a user, or the number of one that has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def duration(seconds: int) -> str:
    """A time in its two greatest units: ``3d04h``, ``2h05m``, ``7m09s``, ``12s``."""
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d{h:02}h"
    if hours:
        return f"{hours}h{m:02}m"
    return f"{minutes}m{s:02}s" if minutes else f"{s}s"


def size(n_bytes: int) -> str:
    """A number of bytes in the greatest unit in which it is whole."""
    units = ("B", "KiB", "MiB", "GiB")
    n = 0
    while n_bytes and n_bytes % _KIB == 0 and n < len(units) - 1:
        n_bytes //= _KIB
        n += 1
    return f"{n_bytes} {units[n]}"


def n_lost(group: GroupStatus) -> int:
    """Events that found no room anywhere."""
    return group.counters.get("n_lost", 0) + group.counters.get("n_dropped", 0)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """
    Make a table for people, with everything escaped that a client could write.

    :param columns: heads; those of :data:`COLUMNS`, and perhaps more
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="left" if column in _ON_THE_LEFT else "right", no_wrap=column != "client")
    for cells in rows:
        made.add_row(*(Text(escape(cell)) for cell in cells))
    return made


def _print(groups: Iterable[GroupStatus]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:  # a file or pipe has no width to wrap at
        console.width = 1000
    console.print(table(COLUMNS, map(row, groups)))

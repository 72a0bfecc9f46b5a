"""What listeners print, turned into counts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """
    What a listener saw.

    :ivar n_lost_signs: how often it said that events were lost
    :ivar paths: paths or lines in hexadecimal, where they were asked for
    :ivar error: what it ended with, if it ended by itself
    """

    n_events: int = 0
    n_created: int = 0
    n_deleted: int = 0
    n_lost_signs: int = 0
    paths: list[str] = field(default_factory=list)
    latencies_ns: list[int] = field(default_factory=list)
    error: str = ""


def parse_plain(output: str) -> Seen:
    """Read what the C listener printed at its end."""
    seen = Seen()
    for line in output.splitlines():
        if line.startswith("counts "):
            seen.n_created, seen.n_deleted, seen.n_lost_signs, seen.n_events = map(int, line.split()[1:])
    return seen


def count_notify(lines: Iterator[str], seen: Seen) -> None:
    """Count what inotifywait or fsnotifywait printed: directory, event types, name."""
    for line in lines:
        types = next((word for word in line.split(" ") if word.isupper()), "")
        seen.n_events += bool(types)
        seen.n_created += "CREATE" in types
        seen.n_deleted += "DELETE" in types and "DELETE_SELF" not in types
        seen.n_lost_signs += "OVERFLOW" in line


def count_fatrace(lines: Iterator[str], seen: Seen) -> None:
    """Count what fatrace printed: ``comm(tgid): types path``, where ``+`` is a creation and ``D`` a removal."""
    for line in lines:
        types = line.partition("): ")[2].partition(" ")[0]
        seen.n_events += bool(types)
        seen.n_created += "+" in types
        seen.n_deleted += "D" in types


def parse_cpu_ticks(stat: str) -> int:
    """Add up user and system time in a line of ``/proc/<tgid>/stat``; the name in it may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


_MADE_AT = re.compile(r"(?:^|[/ ])(\d{12,})(?=[\"\s]|$)")


def made_at(name: bytes) -> int | None:
    """Read the time out of the name of a file of the latency workload; None when it is no such name."""
    return int(name) if name.isdigit() else None


def made_at_in_line(line: str) -> int | None:
    """Find the name of such a file in a line that a command printed."""
    found = _MADE_AT.search(line)
    return int(found.group(1)) if found else None

"""What is known at one point of a function, and where ways meet."""

from collections.abc import Mapping

from fanotify_fastpath._compiler.values import Unusable, Value, join

#: begins the names of what is known of the event
EVENT = "event."
#: begins the names of what has no name in the function that is compiled
INNER = "#"
Facts = Mapping[str, Value]


def join_facts(a: Facts, b: Facts) -> Facts:
    """What is known when either may be so."""
    if a is b:
        return a
    found: dict[str, Value] = {}
    for key in {**a, **b}:
        if key in a and key in b:
            found[key] = join(a[key], b[key])
        elif not key.startswith((EVENT, INNER)):
            found[key] = Unusable("may have no value here: assign one before")
    return found


class Meeting:
    """
    A block that several ways lead to.

    :ivar label: its name
    :ivar facts: what is known there; None: no way leads there
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.facts: Facts | None = None

    def add(self, facts: Facts) -> None:
        """One way more."""
        self.facts = facts if self.facts is None else join_facts(self.facts, facts)

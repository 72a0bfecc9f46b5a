"""Tables as text, and the targets that they show to hold or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """
    What was asked for, and what was found.

    :ivar text: the claim
    :ivar figure: what was measured, as shown
    :ivar holds: whether the figure meets the claim; None: there is no figure
    """

    text: str
    figure: str
    holds: bool | None

    def __str__(self) -> str:
        verdict = {True: ": holds", False: ": does not hold", None: ""}[self.holds]
        return f"target: {self.text}: {self.figure}{verdict}"


@dataclass(slots=True)
class Table:
    """
    One table of the report.

    :ivar figures: the same as numbers, for ``--json``
    """

    title: str
    header: Sequence[str]
    lines: list[Sequence[str]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [list(self.header), *(list(line) for line in self.lines)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(self.header))]
        text = [self.title, "=" * len(self.title)]
        for number, row in enumerate(rows):
            cells = [row[0].ljust(widths[0])] + [
                cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
            ]
            text.append("  ".join(cells).rstrip())
            if number == 0:
                text.append("  ".join("-" * width for width in widths))
        text += [f"  {note}" for note in self.notes]
        text += [f"  {target}" for target in self.targets]
        return "\n".join(text) + "\n"

    def as_json(self) -> dict[str, Any]:
        """The table for ``--json``."""
        targets = [{"text": t.text, "figure": t.figure, "holds": t.holds} for t in self.targets]
        return {"title": self.title, "figures": self.figures, "targets": targets, "notes": self.notes}

"""The table of the counted benchmark, and its targets. Nothing here runs anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.counted.conditions import NOBODY, Condition
from bench.counted.groups import DELIVERED, NOT_ASKED_FOR, OUTSIDE, OUTSIDE_MANY
from bench.counted.slices import DEPTHS, Found
from bench.report import Table, Target
from bench.stats import Spread, format_ratio, ratios

_UNAVAILABLE, _WRONG = "not available", "wrong"
_SHALLOW, _DEEP = DEPTHS


@dataclass(frozen=True, slots=True)
class Limit:
    """
    What is asked for.

    :ivar name: of a condition
    :ivar depths: at each of these
    :ivar most: the ratio to the other condition
    """

    text: str
    name: str
    depths: tuple[int, ...]
    most: float
    base: str = NOBODY.name


LIMITS = (
    Limit("a. event outside", OUTSIDE, (_SHALLOW,), 1.45),
    Limit("b. event outside", OUTSIDE, (_DEEP,), 1.30),
    Limit("c. the same with 10,000 roots and 64 groups", OUTSIDE_MANY, DEPTHS, 1.03, OUTSIDE),
    Limit("d. delivered with its path", DELIVERED, (_SHALLOW,), 1.90),
    Limit("e. nobody asked for it", NOT_ASKED_FOR, DEPTHS, 1.05),
)


def counted_table(conditions: Sequence[Condition], found: Found) -> Table:
    """Write the figures of all conditions down, relative to nobody watching."""
    table = Table(
        "Instructions of open, read and close of a file: relative to nobody watching, median (lowest-highest)",
        ["", *(f"depth {depth}" for depth in DEPTHS), *(f"own, depth {depth}" for depth in DEPTHS)],
    )
    for condition in conditions:
        table.lines.append([condition.name, *_cells(found, condition.name)])
        table.notes.append(f"{condition.name}: {condition.what}")
    table.notes += [_base(found), "own: what the workload's process itself ran; the rest ran whoever was woken"]
    table.notes += _reasons(found.unavailable, _UNAVAILABLE) + _reasons(found.wrong, _WRONG)
    table.targets = [target(limit, found) for limit in LIMITS]
    table.figures = {
        "instructions": _figures(found, "ns"),
        "own_instructions": _figures(found, "cpu_ns"),
        "unavailable": found.unavailable,
        "wrong": found.wrong,
    }
    return table


def target(limit: Limit, found: Found) -> Target:
    """Compare what was found with a limit: at each of its depths, the median of the ratios within each round."""
    where = " and ".join(f"depth {depth}" for depth in limit.depths)
    text = f"{limit.text}, {where}: at most {limit.most:.2f} times {limit.base}"
    for names, word, holds in ((found.unavailable, _UNAVAILABLE, None), (found.wrong, _WRONG, False)):
        if limit.name in names or limit.base in names:
            return Target(text, word, holds)
    medians = [relative(found, limit.name, depth, base=limit.base).median for depth in limit.depths]
    return Target(text, " and ".join(f"{median:.2f}" for median in medians), max(medians) <= limit.most)


def relative(found: Found, name: str, depth: int, *, what: str = "ns", base: str = NOBODY.name) -> Spread:
    """
    Divide, within each round, by what it takes under another condition.

    :param what: ``"ns"``: everything that ran; ``"cpu_ns"``: the workload's process alone
    :raises ValueError: no round has both
    """
    rounds = [{one: getattr(took, what) for one, took in each.items()} for each in found.rounds[depth]]
    return Spread.of(ratios(rounds, name, base))


def _cells(found: Found, name: str) -> list[str]:
    if found.is_lost(name):
        return [_UNAVAILABLE if name in found.unavailable else _WRONG] + [""] * (2 * len(DEPTHS) - 1)
    return [format_ratio(relative(found, name, depth, what=what)) for what in ("ns", "cpu_ns") for depth in DEPTHS]


def _base(found: Found) -> str:
    """What one operation takes when nobody watches; its spread is the least that any ratio varies by."""
    parts = []
    for depth in DEPTHS:
        spread = Spread.of(one[NOBODY.name].ns for one in found.rounds[depth])
        parts.append(f"{spread.median:,.0f} ({spread.low:,.0f}-{spread.high:,.0f}) at depth {depth}")
    return f"{NOBODY.name} took {' and '.join(parts)}"


def _reasons(lost: dict[str, str], word: str) -> list[str]:
    """One note for each reason."""
    names: dict[str, list[str]] = {}
    for name, reason in lost.items():
        names.setdefault(reason, []).append(name)
    return [f"{'; '.join(those)}: {word}: {reason}" for reason, those in names.items()]


def _figures(found: Found, what: str) -> dict[int, list[dict[str, float]]]:
    return {
        depth: [{name: getattr(took, what) for name, took in one.items()} for one in rounds]
        for depth, rounds in found.rounds.items()
    }

"""Medians, percentiles and ratios; nothing here knows what is measured."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, with the lowest and the highest."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """
        Summarise figures.

        :raises ValueError: there are none
        """
        found = sorted(values)
        if not found:
            raise ValueError("no figures to summarise")
        return cls(statistics.median(found), found[0], found[-1], len(found))


def percentile(values: Iterable[float], percent: float) -> float:
    """
    Return the nearest-rank percentile: the lowest figure that *percent* per cent of all do not exceed.

    :raises ValueError: there are no figures, or *percent* is not above 0 and at most 100
    """
    found = sorted(values)
    if not found or not 0 < percent <= 100:
        raise ValueError(f"no percentile {percent} of {len(found)} figures")
    return found[math.ceil(len(found) * percent / 100) - 1]


def ratios(rounds: Sequence[Mapping[str, float]], condition: str, base: str) -> list[float]:
    """Divide, within each round that has both, the figure of *condition* by that of *base*."""
    return [one[condition] / one[base] for one in rounds if condition in one and base in one]


def rotate(names: Sequence[str], by: int) -> list[str]:
    """Return *names* beginning at another one, so that no condition always comes first."""
    by %= len(names) or 1
    return [*names[by:], *names[:by]]


def format_ns(ns: float) -> str:
    """Write a duration with three digits and a unit that fits."""
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if ns < 999.5 * size:
            value = ns / size
            return f"{value:.{_places(value)}f} {unit}"
    return f"{ns / 1e9:.{_places(ns / 1e9)}f} s"


def format_bytes(n_bytes: float) -> str:
    """Write an amount of memory in kB or MB."""
    if abs(n_bytes) < 1e6:
        return f"{n_bytes / 1e3:.0f} kB"
    return f"{n_bytes / 1e6:.1f} MB"


def format_ratio(spread: Spread) -> str:
    """Write ``median (low-high)``."""
    places = 2 if spread.median < 100 else 0
    return f"{spread.median:.{places}f} ({spread.low:.{places}f}-{spread.high:.{places}f})"


def _places(value: float) -> int:
    return 0 if value >= 99.5 else 1 if value >= 9.95 else 2

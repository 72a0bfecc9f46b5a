"""What every row needs: where it runs, what can be watched with, and how often."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.listeners import Condition
from bench.place import Place
from bench.stats import rotate


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of the benchmark.

    :ivar conditions: all that are installed, by name
    :ivar n_rounds: how often each condition is measured
    """

    place: Place
    conditions: dict[str, Condition]
    n_rounds: int

    def interleaved(self, names: list[str], n_rounds: int | None = None) -> Iterator[tuple[int, Condition]]:
        """Go round-robin through the conditions of these names, each round beginning at another one."""
        present = self.present(names)
        for number in range(self.n_rounds if n_rounds is None else n_rounds):
            for name in rotate(present, number):
                yield number, self.conditions[name]

    def present(self, names: list[str]) -> list[str]:
        """Those of *names* that are installed."""
        return [name for name in names if name in self.conditions]

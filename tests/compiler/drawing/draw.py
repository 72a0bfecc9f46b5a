"""Drawing: what may be drawn, how often, and what of it one program has."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .env import Env, Number, Words

T = TypeVar("T")
#: what stands deeper draws nothing in its turn: expressions in expressions, blocks in blocks
MOST_DEPTH = 4
MOST_BLOCKS = 3
_TRIES = 200


@dataclass(frozen=True)
class Maker:
    """
    A construct of the language.

    :ivar make: gives its text, or None where it cannot stand
    :ivar weight: how often it is drawn
    :ivar is_leaf: it draws nothing in its turn
    """

    name: str
    make: Callable[["Draw", Env], object]
    weight: int
    is_leaf: bool


#: what there is, by what it gives
MAKERS: dict[str, list[Maker]] = {"number": [], "words": [], "truth": [], "statement": []}


def construct(
    kind: str, weight: int = 10, *, is_leaf: bool = False, name: str = ""
) -> Callable[[Callable[["Draw", Env], T]], Callable[["Draw", Env], T]]:
    """Register a construct; its name is its docstring."""

    def register(make: Callable[["Draw", Env], T]) -> Callable[["Draw", Env], T]:
        said = name or (make.__doc__ or "").rstrip(".")
        MAKERS[kind].append(Maker(f"{kind}: {said}", make, weight, is_leaf))
        return make

    return register


@dataclass
class Draw:
    """
    One program while it is drawn.

    :ivar used: names of the constructs that it has
    :ivar numbers: integers that it compares with
    :ivar texts: bytes that it compares with
    :ivar helpers: texts of calls, to be completed with arguments, by what they return
    :ivar has_state: it may use state
    :ivar fuel: statements that may still be drawn
    :ivar n_calls: of functions
    """

    random: random.Random
    used: set[str] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    helpers: dict[str, list[str]] = field(default_factory=dict)
    has_state: bool = False
    fuel: int = 30
    n_calls: int = 0
    _n_names: int = 0

    def __post_init__(self) -> None:
        # a seed stands for the same program in whichever order the modules were imported
        self._makers = {kind: sorted(makers, key=lambda maker: maker.name) for kind, makers in MAKERS.items()}

    def name(self, stem: str) -> str:
        """A new name."""
        self._n_names += 1
        return f"{stem}{self._n_names}"

    def chance(self, percent: int) -> bool:
        """Whether it happens this time."""
        return self.random.randrange(100) < percent

    def one(self, items: Sequence[T]) -> T:
        """One of them."""
        return self.random.choice(items)

    def number(self, env: Env) -> Number:
        """An expression that is an integer of at most 64 bits."""
        found = self._any("number", env)
        assert isinstance(found, Number)
        return found

    def words(self, env: Env) -> Words:
        """An expression that is bytes."""
        found = self._any("words", env)
        assert isinstance(found, Words)
        return found

    def truth(self, env: Env) -> str:
        """An expression that is a truth, in parentheses where it needs them."""
        found = self._any("truth", env)
        assert isinstance(found, str)
        return found

    def statement(self, env: Env) -> list[str]:
        """Lines; *env* has afterwards what they define."""
        self.fuel -= 1
        found = self._any("statement", env)
        assert isinstance(found, list)
        return found

    def _any(self, kind: str, env: Env) -> object:
        # what a statement defines is for those that follow it
        is_statement = kind == "statement"
        within = env if is_statement else env.deeper()
        may_nest = env.n_blocks < MOST_BLOCKS if is_statement else within.depth < MOST_DEPTH
        makers = [maker for maker in self._makers[kind] if maker.is_leaf or may_nest]
        for _ in range(_TRIES):
            maker = self.random.choices(makers, [each.weight for each in makers])[0]
            found = maker.make(self, within)
            if found is not None:
                self.used.add(maker.name)
                return found
        raise AssertionError(f"no {kind} can be drawn here")

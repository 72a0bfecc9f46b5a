"""State: counters and maps."""

from fanotify_fastpath._compiler.ranges import U64

from .blocks import result
from .draw import Draw, construct
from .env import Env, Number

DECLARED = """
hits = Counter()
by_number = StateMap(max_entries=8)
by_pair = StateMap(max_entries=8, key_words=2)
by_words = StateMap(max_entries=8, key_bytes=20)
"""
NAMES = ("hits", "by_number", "by_pair", "by_words")


def _key(draw: Draw, env: Env) -> str:
    found = draw.number(env).text
    return f"{found} & 7" if draw.chance(50) else f"u64({found})"


def _place(draw: Draw, env: Env) -> tuple[str, str] | None:
    """A map and a key of it."""
    if not draw.has_state:
        return None
    match draw.random.randrange(3):
        case 0:
            return "self.by_number", _key(draw, env)
        case 1:
            return "self.by_pair", f"({_key(draw, env)}, {_key(draw, env)})"
    return "self.by_words", f"{draw.words(env).text}[:20]"


@construct("number", 3, is_leaf=True)
def _value(draw: Draw, env: Env) -> Number | None:
    """Value of a counter."""
    return Number("self.hits.value", U64) if draw.has_state else None


@construct("number", 4)
def _entry(draw: Draw, env: Env) -> Number | None:
    """Value of a map, or a default."""
    place = _place(draw, env)
    return place and Number(f"{place[0]}.get({place[1]}, {draw.random.randrange(9)})", U64)


@construct("truth", 4)
def _has(draw: Draw, env: Env) -> str | None:
    """Key in a map."""
    place = _place(draw, env)
    if place is None:
        return None
    return draw.one([f"({place[1]} in {place[0]})", f"({place[0]}.get({place[1]}) is None)"])


@construct("truth", 4)
def _put(draw: Draw, env: Env) -> str | None:
    """Whether there was room in a map."""
    place = _place(draw, env)
    return place and f"{place[0]}.put({place[1]}, u64({draw.number(env).text}))"


@construct("statement", 20, is_leaf=True)
def _hit(draw: Draw, env: Env) -> list[str] | None:
    """Counter that is added to."""
    return [f"self.hits.add({draw.number(env).text})"] if draw.has_state else None


@construct("statement", 12, is_leaf=True)
def _store(draw: Draw, env: Env) -> list[str] | None:
    """Entry that is made or changed."""
    place = _place(draw, env)
    return place and [f"{place[0]}.{draw.one(['put', 'add'])}({place[1]}, u64({draw.number(env).text}))"]


@construct("statement", 6, is_leaf=True)
def _discard(draw: Draw, env: Env) -> list[str] | None:
    """Entry that is removed."""
    place = _place(draw, env)
    return place and [f"{place[0]}.discard({place[1]})"]


@construct("statement", 8, is_leaf=True)
def _found(draw: Draw, env: Env) -> list[str] | None:
    """Entry that may not be there, tested."""
    place = _place(draw, env)
    if place is None:
        return None
    name, amount = draw.name("n"), draw.number(env).text
    call = draw.one([f"{place[0]}.get({place[1]})", f"{place[0]}.add({place[1]}, {amount})"])
    lines = [f"{name} = {call}", f"if {name} is None:", f"    return {result(draw, env)}"]
    env.numbers[name] = U64
    return lines

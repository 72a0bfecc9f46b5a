"""Loops."""

from fanotify_fastpath._compiler.ranges import Range

from .blocks import block, indented
from .draw import Draw, construct
from .env import N_ANCESTORS, Env, Words
from .pools import CASTS, an_integer
from .texts import literal, of_event

_MOST_LOOPS = 2


def _loop(draw: Draw, head: str, inner: Env, outer: Env, most: int = 3) -> list[str]:
    lines = [head, *block(draw, inner, most)]
    if draw.chance(25):
        lines += ["else:", *block(draw, outer.block(), 2)]
        draw.used.add("statement: Else of a loop")
    return lines


def _inner(env: Env, **numbers: Range) -> Env:
    inner = env.block(is_loop=True, is_cheap=env.n_loops > 0)
    inner.numbers.update(numbers)
    return inner


@construct("statement", 6)
def _ancestors(draw: Draw, env: Env) -> list[str] | None:
    """Loop over the sequence of the event."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    name, n = draw.name("a"), draw.name("at")
    if draw.chance(50):
        return _loop(draw, f"for {name} in event.ancestors:", _inner(env, **{name: CASTS["u32"]}), env)
    inner = _inner(env, **{name: CASTS["u32"], n: Range(0, N_ANCESTORS)})
    return _loop(draw, f"for {n}, {name} in enumerate(event.ancestors):", inner, env)


@construct("statement", 5)
def _sequence(draw: Draw, env: Env) -> list[str] | None:
    """Loop over integers of the handler or the program."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    name = draw.name("x")
    numbers = ", ".join(str(an_integer(draw)) for _ in range(3))
    where, found = draw.one([("self.sequence", CASTS["i16"]), ("NUMBERS", CASTS["u8"]), (f"({numbers})", CASTS["u64"])])
    return _loop(draw, f"for {name} in {where}:", _inner(env, **{name: found}), env)


@construct("statement", 6)
def _range(draw: Draw, env: Env) -> list[str] | None:
    """Loop over a range."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    name = draw.name("at")
    bounds, found = draw.one(
        [("5", Range(0, 4)), ("2, 9", Range(2, 8)), ("9, -4, -3", Range(-4, 9)), ("0", Range(0, 1))]
    )
    if draw.chance(30):
        bounds, found = f"{draw.number(env).text} & 7", Range(0, 7)
    return _loop(draw, f"for {name} in range({bounds}):", _inner(env, **{name: found}), env)


@construct("statement", 4)
def _range_of_length(draw: Draw, env: Env) -> list[str] | None:
    """Loop over the places of a sequence."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    name, item = draw.name("at"), draw.name("n")
    sequence, found = draw.one([("event.ancestors", CASTS["u32"]), ("self.sequence", CASTS["i16"])])
    inner = _inner(env, **{name: Range(0, N_ANCESTORS), item: found})
    lines = [f"for {name} in range(len({sequence})):", f"    {item} = {sequence}[{name}]"]
    return lines + block(draw, inner)


@construct("statement", 5)
def _bytes(draw: Draw, env: Env) -> list[str] | None:
    """Loop over bytes."""
    if env.n_loops:
        return None
    name, words, digest = draw.name("x"), draw.words(env), draw.name("v")
    inner = env.block(is_loop=True, is_cheap=True)
    inner.n_loops = _MOST_LOOPS
    env.numbers[digest] = inner.numbers[digest] = CASTS["u32"]
    inner.numbers[name] = CASTS["u8"]
    step = f"    {digest} = u32({digest} * 33 ^ {name})"
    return [f"{digest}: u32 = 5381", f"for {name} in {words.text}:", step, *block(draw, inner, 1)]


@construct("statement", 7)
def _texts(draw: Draw, env: Env) -> list[str] | None:
    """Loop over a sequence of bytes."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    name, (where, most) = draw.name("t"), draw.one([("self.texts", 20), ("TEXTS", 5)])
    inner = _inner(env)
    inner.texts[name] = Words(name, most)
    return _loop(draw, f"for {name} in {where}:", inner, env, 2)


@construct("statement", 5)
def _pairs(draw: Draw, env: Env) -> list[str] | None:
    """Loop over a tuple of tuples, taken apart."""
    if env.n_loops >= _MOST_LOOPS:
        return None
    words, number = draw.name("t"), draw.name("n")
    inner = _inner(env, **{number: CASTS["u64"]})
    inner.texts[words] = Words(words, 12)
    pairs = ", ".join(f"({literal(draw).text}, {an_integer(draw)})" for _ in range(2))
    return _loop(draw, f"for {words}, {number} in ({pairs}):", inner, env, 2)


@construct("statement", 18)
def _globs(draw: Draw, env: Env) -> list[str] | None:
    """Loop over globs."""
    words = None if env.n_loops else of_event(draw, env)
    if words is None:
        return None
    name = draw.name("g")
    body = block(draw, _inner(env), 2)
    return [f"for {name} in self.globs:", f"    if fnmatchcase({words.text}, {name}):", *indented(body)]


@construct("statement", 18)
def _leave(draw: Draw, env: Env) -> list[str] | None:
    """Break or continue."""
    if not env.n_loops:
        return None
    return [f"if {draw.truth(env)}:", f"    {draw.one(['break', 'continue'])}"]

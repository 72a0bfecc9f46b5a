"""Expressions that are bytes."""

from .draw import Draw, construct
from .env import TEXTS, Env, Words
from .pools import some_bytes


def literal(draw: Draw, most: int = 12) -> Words:
    """Bytes that are written in the program."""
    found = some_bytes(draw, most)
    return Words(repr(found), len(found))


def of_event(draw: Draw, env: Env) -> Words | None:
    """Bytes of the event: globs and ``in`` are compiled for them alone."""
    if not any(name in env.known for name in TEXTS) and not any(each.is_of_event for each in env.texts.values()):
        return None
    while True:
        found = draw.words(env)
        if found.is_of_event:
            return found


@construct("words", 4, is_leaf=True)
def _literal(draw: Draw, env: Env) -> Words:
    """Literal."""
    return literal(draw)


@construct("words", 40, is_leaf=True)
def _field(draw: Draw, env: Env) -> Words | None:
    """Field of which it is known that it is not None."""
    names = [name for name in TEXTS if name in env.known]
    if not names:
        return None
    name = draw.one(names)
    return Words(f"event.{name}", TEXTS[name], is_of_event=True)


@construct("words", 30, is_leaf=True)
def _local(draw: Draw, env: Env) -> Words | None:
    """Local variable."""
    if not env.texts:
        return None
    return draw.one(list(env.texts.values()))


@construct("words", 6, is_leaf=True)
def _attribute(draw: Draw, env: Env) -> Words:
    """Attribute that is bytes."""
    return Words("self.text", 60)


@construct("words", 3, is_leaf=True)
def _constant(draw: Draw, env: Env) -> Words:
    """Item of a constant of the module."""
    draw.texts.extend((b"a", b".tmp"))
    return Words(draw.one(["TEXTS[0]", "TEXTS[1]", "TEXTS[-1]", "ENDING"]), 5)


@construct("words", 14)
def _part(draw: Draw, env: Env) -> Words:
    """Part of bytes."""
    whole = draw.words(env)
    lower, upper = (draw.one(["", "", str(draw.random.randint(-9, 9))]) for _ in range(2))
    return Words(f"{whole.text}[{lower}:{upper}]", whole.most, whole.is_of_event)


@construct("words", 4)
def _conditional(draw: Draw, env: Env) -> Words | None:
    """Conditional expression."""
    names = [name for name in TEXTS if name in env.known]
    if not names:
        return None
    a, b = draw.one(names), draw.one(names)
    return Words(f"(event.{a} if {draw.truth(env)} else event.{b})", max(TEXTS[a], TEXTS[b]), is_of_event=True)

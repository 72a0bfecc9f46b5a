"""Expressions that are integers."""

from collections.abc import Callable

from fanotify_fastpath._compiler import ranges
from fanotify_fastpath._compiler.ranges import I64, U64, Range, width

from .draw import Draw, construct
from .env import ALWAYS, FIELDS, N_ANCESTORS, Env, Number
from .pools import CASTS, a_mask, an_integer

_BYTE = Range(0, 255)
_RING: dict[str, Callable[[Range, Range], Range]] = {
    "+": ranges.add,
    "-": ranges.subtract,
    "*": ranges.multiply,
    "&": ranges.bit_and,
    "|": ranges.bit_or,
    "^": ranges.bit_or,
}


def wrapped(draw: Draw, text: str, found: Range) -> Number:
    """The expression, in a cast if 64 bits might not hold it."""
    if found.is_signed or found.is_unsigned:
        return Number(text, found)
    return in_cast(draw, text)


def in_cast(draw: Draw, text: str) -> Number:
    """The expression in a cast."""
    name = draw.one([*CASTS, "u64", "i64", "u32"])
    return Number(f"{name}({text})", CASTS[name])


def exactly(number: int) -> Number:
    """A literal."""
    return Number(str(number), Range(number, number))


@construct("number", 14, is_leaf=True)
def _literal(draw: Draw, env: Env) -> Number:
    """Literal."""
    found = an_integer(draw)
    return exactly(-found) if found <= 1 << 63 and draw.chance(10) else exactly(found)


@construct("number", 8, is_leaf=True)
def _always(draw: Draw, env: Env) -> Number:
    """Field that is always known."""
    name = draw.one(list(ALWAYS))
    return Number(f"event.{name}", width(ALWAYS[name], signed=False))


@construct("number", 30, is_leaf=True)
def _field(draw: Draw, env: Env) -> Number | None:
    """Field of which it is known that it is not None."""
    names = [name for name in FIELDS if name in env.known]
    if not names:
        return None
    name = draw.one(names)
    return Number(f"event.{name}", width(FIELDS[name], signed=False))


@construct("number", 30, is_leaf=True)
def _local(draw: Draw, env: Env) -> Number | None:
    """Local variable."""
    if not env.numbers:
        return None
    name = draw.one(list(env.numbers))
    return Number(name, env.numbers[name])


@construct("number", 8, is_leaf=True)
def _attribute(draw: Draw, env: Env) -> Number:
    """Attribute that is an integer."""
    name, found = draw.one([("small", CASTS["u8"]), ("signed", CASTS["i32"]), ("large", U64), ("plain", I64)])
    return Number(f"self.{name}", found)


@construct("number", 4, is_leaf=True)
def _constant(draw: Draw, env: Env) -> Number:
    """Constant of the module or the class."""
    text, value = draw.one(
        [("LIMIT", 1000), ("self.MOST", 255), ("HUGE", 1 << 63), ("self.NUMBERS[1]", 7), ("-LIMIT", -1000)]
    )
    draw.numbers.append(abs(value))
    return Number(text, Range(value, value))


@construct("number", 8)
def _length(draw: Draw, env: Env) -> Number:
    """Length of bytes."""
    words = draw.words(env)
    return Number(f"len({words.text})", Range(0, words.most))


@construct("number", 5, is_leaf=True)
def _length_of_sequence(draw: Draw, env: Env) -> Number:
    """Length of a sequence."""
    name = draw.one(["event.ancestors", "self.texts", "self.sequence", "self.numbers", "TEXTS"])
    return Number(f"len({name})", Range(0, 16))


def _ring_maker(operator: str) -> Callable[[Draw, Env], Number]:
    def make(draw: Draw, env: Env) -> Number:
        a, b = draw.number(env), draw.number(env)
        return wrapped(draw, f"({a.text} {operator} {b.text})", _RING[operator](a.range, b.range))

    return make


for _operator in _RING:
    construct("number", 5, name=_operator)(_ring_maker(_operator))


@construct("number", 5)
def _modular(draw: Draw, env: Env) -> Number:
    """Cast of what has more than 64 bits."""
    text = draw.number(env).text
    for _ in range(draw.random.randint(1, 3)):
        text = f"({text} {draw.one([*_RING])} {draw.number(env).text})"
    return in_cast(draw, draw.one(["", "", "-", "~"]) + text)


@construct("number", 5)
def _cast(draw: Draw, env: Env) -> Number:
    """Cast."""
    return in_cast(draw, draw.number(env).text)


def _divided(draw: Draw, env: Env, operator: str, bounds: Callable[[Range, Range], Range]) -> Number:
    a, b = draw.number(env), draw.number(env)
    if draw.chance(85):
        divisor = max(1, an_integer(draw)) * (-1 if draw.chance(20) else 1)
        b = exactly(divisor if divisor >= I64.lo else -3)
    return wrapped(draw, f"({a.text} {operator} {b.text})", bounds(a.range, b.range))


@construct("number", 6)
def _quotient(draw: Draw, env: Env) -> Number:
    """Floored division, perhaps by zero."""
    return _divided(draw, env, "//", ranges.floor_divide)


@construct("number", 6)
def _rest(draw: Draw, env: Env) -> Number:
    """Remainder, perhaps of zero."""
    return _divided(draw, env, "%", ranges.modulo)


def _amount(draw: Draw, env: Env) -> Number:
    found = draw.number(env)
    match draw.random.randrange(6):
        case 0:
            return exactly(draw.random.choice((0, 1, 3, 7, 8, 31, 32, 33, 63)))
        case 1:
            return Number(f"({found.text} & 127)", Range(0, 127))
        case 2:
            return Number(f"i8({found.text})", CASTS["i8"])
    return Number(f"({found.text} & 31)", Range(0, 31))


@construct("number", 4)
def _left(draw: Draw, env: Env) -> Number:
    """Shift to the left, perhaps by what is negative."""
    a, b = draw.number(env), _amount(draw, env)
    return wrapped(draw, f"({a.text} << {b.text})", ranges.shift_left(a.range, b.range))


@construct("number", 4)
def _right(draw: Draw, env: Env) -> Number:
    """Shift to the right, perhaps by what is negative."""
    a, b = draw.number(env), _amount(draw, env)
    return wrapped(draw, f"({a.text} >> {b.text})", ranges.shift_right(a.range, b.range))


@construct("number", 3)
def _negative(draw: Draw, env: Env) -> Number:
    """Negative of another."""
    a = draw.number(env)
    return wrapped(draw, f"(-{a.text})", ranges.negate(a.range))


@construct("number", 3)
def _inverted(draw: Draw, env: Env) -> Number:
    """Inverted bits."""
    a = draw.number(env)
    return wrapped(draw, f"(~{a.text})", ranges.invert(a.range))


@construct("number", 3)
def _extreme(draw: Draw, env: Env) -> Number:
    """Least or greatest."""
    found = [draw.number(env) for _ in range(draw.random.randint(2, 3))]
    every, pick = [each.range for each in found], draw.one([min, max])
    bounds = Range(pick(each.lo for each in every), pick(each.hi for each in every))
    text = f"{pick.__name__}({', '.join(each.text for each in found)})"
    return wrapped(draw, text, bounds)


@construct("number", 3)
def _absolute(draw: Draw, env: Env) -> Number:
    """Absolute value."""
    a = draw.number(env)
    return wrapped(draw, f"abs({a.text})", ranges.absolute(a.range))


@construct("number", 4)
def _truth(draw: Draw, env: Env) -> Number:
    """Truth as an integer."""
    return Number(draw.one(["int({})", "({} + 0)", "(3 * {})"]).format(draw.truth(env)), Range(0, 3))


@construct("number", 5)
def _conditional(draw: Draw, env: Env) -> Number:
    """Conditional expression."""
    a, b, test = draw.number(env), draw.number(env), draw.truth(env)
    both = a.range.join(b.range)
    if both.is_signed or both.is_unsigned:
        return Number(f"({a.text} if {test} else {b.text})", both)
    return Number(f"(u64({a.text}) if {test} else u64({b.text}))", U64)


@construct("number", 8)
def _tested(draw: Draw, env: Env) -> Number | None:
    """Conditional expression that finds out whether a field is None."""
    names = [name for name in FIELDS if name not in env.known]
    if not names:
        return None
    name = draw.one(names)
    inner = in_cast(draw, draw.number(env.knowing(name)).text)
    if draw.chance(50):
        return Number(f"({inner.text} if event.{name} is not None else {inner.range.hi})", inner.range)
    return Number(f"({inner.range.lo} if event.{name} is None else {inner.text})", inner.range)


@construct("number", 6)
def _byte(draw: Draw, env: Env) -> Number:
    """Byte of bytes, perhaps beyond their end."""
    words, place = draw.words(env), draw.random.randint(-4, 4)
    if draw.chance(20):
        return Number(f"{words.text}[{draw.number(env).text} % {draw.random.randint(1, 12)}]", _BYTE)
    if draw.chance(60):
        return Number(f"({words.text}[{place}] if len({words.text}) > 4 else {place})", Range(-4, 255))
    return Number(f"{words.text}[{place}]", _BYTE)


@construct("number", 4, is_leaf=True)
def _ancestor(draw: Draw, env: Env) -> Number:
    """Item of a sequence, perhaps beyond its end."""
    name, found = draw.one([("event.ancestors", CASTS["u32"]), ("self.sequence", CASTS["i16"])])
    place = draw.random.randint(-3, 3)
    if draw.chance(60):
        return Number(f"({name}[{place}] if len({name}) >= 4 else 0)", found)
    return Number(f"{name}[{place}]", found)


@construct("number", 3)
def _any_item(draw: Draw, env: Env) -> Number:
    """Item of a sequence at a variable."""
    return Number(f"event.ancestors[{draw.number(env).text} & {draw.one([1, 3, N_ANCESTORS - 1])}]", CASTS["u32"])


@construct("number", 5, is_leaf=True)
def _bits(draw: Draw, env: Env) -> Number:
    """Bits of the mask."""
    return Number(f"(event.mask & {a_mask(draw)})", CASTS["u32"])

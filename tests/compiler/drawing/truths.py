"""Expressions that are truths."""

from .draw import Draw, construct
from .env import FIELDS, OPTIONAL, TEXTS, Env
from .pools import a_glob, a_mask, an_integer
from .texts import literal, of_event

_ORDERS = ("<", "<=", ">", ">=", "==", "!=")
_FILE_TYPES = ("REG", "DIR", "LNK", "FIFO", "SOCK", "BLK", "CHR")


@construct("truth", 2, is_leaf=True)
def _literal(draw: Draw, env: Env) -> str:
    """Literal."""
    return draw.one(["True", "False"])


@construct("truth", 8, is_leaf=True)
def _attribute(draw: Draw, env: Env) -> str:
    """Attribute or field that is a truth."""
    return draw.one(["self.flag", "self.other", "event.is_dir"])


@construct("truth", 20, is_leaf=True)
def _local(draw: Draw, env: Env) -> str | None:
    """Local variable."""
    return draw.one(env.truths) if env.truths else None


@construct("truth", 20)
def _order(draw: Draw, env: Env) -> str:
    """Comparison of integers."""
    return f"({draw.number(env).text} {draw.one(_ORDERS)} {draw.number(env).text})"


@construct("truth", 6)
def _chain(draw: Draw, env: Env) -> str:
    """Chain of comparisons."""
    text = draw.number(env).text
    for _ in range(draw.random.randint(2, 3)):
        text += f" {draw.one(_ORDERS)} {draw.number(env).text}"
    return f"({text})"


@construct("truth", 6)
def _connected(draw: Draw, env: Env) -> str:
    """Several truths connected by and, or by or."""
    operator = draw.one([" and ", " or "])
    return f"({operator.join(draw.truth(env) for _ in range(draw.random.randint(2, 3)))})"


@construct("truth", 5)
def _not(draw: Draw, env: Env) -> str:
    """Negation."""
    return f"(not {draw.truth(env)})"


@construct("truth", 4)
def _truths(draw: Draw, env: Env) -> str:
    """Two truths compared or combined."""
    return f"({draw.truth(env)} {draw.one(['==', '!=', '&', '|', '^'])} {draw.truth(env)})"


@construct("truth", 3)
def _conditional(draw: Draw, env: Env) -> str:
    """Conditional expression."""
    return f"({draw.truth(env)} if {draw.truth(env)} else {draw.truth(env)})"


@construct("truth", 4)
def _bool(draw: Draw, env: Env) -> str:
    """Truth of an integer or of bytes."""
    found = (draw.number(env) if draw.chance(50) else draw.words(env)).text
    return draw.one([f"bool({found})", f"(not {found})"])


@construct("truth", 5)
def _number_in_tuple(draw: Draw, env: Env) -> str:
    """Integer in a tuple."""
    items = ", ".join(str(an_integer(draw)) for _ in range(draw.random.randint(2, 4)))
    return f"({draw.number(env).text} {draw.one(['in', 'not in'])} {draw.one([f'({items})', 'NUMBERS'])})"


@construct("truth", 7)
def _number_in_attribute(draw: Draw, env: Env) -> str:
    """Integer in a set or a sequence of the handler, or of the event."""
    where = draw.one(["self.numbers", "self.numbers", "self.negatives", "self.sequence", "event.ancestors"])
    return f"({draw.number(env).text} {draw.one(['in', 'not in'])} {where})"


@construct("truth", 10)
def _same(draw: Draw, env: Env) -> str:
    """Equality of bytes."""
    other = literal(draw) if draw.chance(60) else draw.words(env)
    return f"({draw.words(env).text} {draw.one(['==', '!='])} {other.text})"


@construct("truth", 16)
def _contained(draw: Draw, env: Env) -> str | None:
    """Bytes in bytes."""
    whole = of_event(draw, env)
    part = "self.text" if draw.chance(20) else literal(draw, 5).text
    return None if whole is None else f"({part} {draw.one(['in', 'not in'])} {whole.text})"


@construct("truth", 6)
def _words_in(draw: Draw, env: Env) -> str:
    """Bytes in a tuple or a sequence."""
    items = ", ".join(literal(draw).text for _ in range(draw.random.randint(2, 3)))
    return f"({draw.words(env).text} {draw.one(['in', 'not in'])} {draw.one([f'({items})', 'self.texts', 'TEXTS'])})"


@construct("truth", 12)
def _affix(draw: Draw, env: Env) -> str:
    """Beginning or end of bytes."""
    method = draw.one(["startswith", "endswith"])
    argument = (literal(draw, draw.one([5, 12])) if draw.chance(60) else draw.words(env)).text
    if draw.chance(30):
        argument = draw.one(["TEXTS", f"({literal(draw, 5).text}, {literal(draw).text})", f"({argument},)"])
    return f"{draw.words(env).text}.{method}({argument})"


@construct("truth", 30)
def _glob(draw: Draw, env: Env) -> str | None:
    """Glob."""
    whole = None if env.is_cheap else of_event(draw, env)
    return None if whole is None else f"fnmatchcase({whole.text}, {a_glob(draw)!r})"


@construct("truth", 8, is_leaf=True)
def _mask(draw: Draw, env: Env) -> str:
    """Bits of the mask."""
    return f"bool(event.mask & {draw.one(['', '~'])}{a_mask(draw)})"


@construct("truth", 6, is_leaf=True)
def _none(draw: Draw, env: Env) -> str:
    """Test for None."""
    return f"(event.{draw.one(OPTIONAL)} {draw.one(['is', 'is not', '==', '!='])} None)"


@construct("truth", 8, is_leaf=True)
def _optional(draw: Draw, env: Env) -> str:
    """Equality of what may be None."""
    name = draw.one(OPTIONAL)
    if name in TEXTS:
        other = draw.one([literal(draw).text, "self.text", f"event.{draw.one(list(TEXTS))}"])
        return f"(event.{name} {draw.one(['==', '!='])} {other})"
    other = draw.one([str(an_integer(draw)), "self.signed", "self.large", f"event.{draw.one(list(FIELDS))}"])
    return f"(event.{name} {draw.one(['==', '!='])} {other})"


@construct("truth", 5, is_leaf=True)
def _optional_in(draw: Draw, env: Env) -> str:
    """What may be None in a tuple or a set."""
    name, none = draw.one(OPTIONAL), draw.one(["", ", None"])
    if name in TEXTS:
        return f"(event.{name} in {draw.one([f'({literal(draw).text}, ENDING{none})', 'self.texts', 'TEXTS'])})"
    return f"(event.{name} in {draw.one([f'({an_integer(draw)}, 7{none})', 'self.numbers', 'event.ancestors'])})"


@construct("truth", 20)
def _narrowed(draw: Draw, env: Env) -> str:
    """Test for None that what follows relies on."""
    name = draw.one(OPTIONAL)
    then = draw.truth(env.knowing(name))
    if draw.chance(30):
        return f"(event.{name} is None or {then})"
    return f"(event.{name} {draw.one(['is not', '!='])} None and {then})"


@construct("truth", 6, is_leaf=True)
def _inside(draw: Draw, env: Env) -> str:
    """Place below a root."""
    return f"(event.inside(self.roots) {draw.one(['is', 'is not', '==', '!='])} {draw.one(['None', 'True', 'False'])})"


@construct("truth", 3, is_leaf=True)
def _choice(draw: Draw, env: Env) -> str:
    """Word of a few."""
    return f"(self.choice {draw.one(['==', '!='])} '{draw.one(['first', 'second'])}')"


@construct("truth", 4)
def _file_type(draw: Draw, env: Env) -> str:
    """Type of a file."""
    mode = "u16(event.mask << 12)" if draw.chance(40) else f"u32({draw.number(env).text})"
    return f"stat.S_IS{draw.one(_FILE_TYPES)}({mode})"


@construct("truth", 5)
def _quantified(draw: Draw, env: Env) -> str | None:
    """Any or all of a sequence."""
    if env.n_loops:
        return None
    item = draw.name("q")
    if draw.chance(50):
        inner, where = env.block(is_loop=True, is_cheap=True), "event.ancestors"
        inner.texts.clear()
        test = f"{item} {draw.one(_ORDERS)} {draw.number(inner).text}"
    else:
        where, test = "self.texts", f"{draw.words(env).text}.{draw.one(['startswith', 'endswith'])}({item})"
    return f"{draw.one(['any', 'all'])}({test} for {item} in {where})"

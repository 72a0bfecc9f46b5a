"""Statements, apart from loops."""

from dataclasses import replace

from fanotify_fastpath._compiler.ranges import Range

from .draw import Draw, construct
from .env import FIELDS, OPTIONAL, TEXTS, Env, Words
from .pools import CASTS, an_integer
from .texts import literal

_INDENT = "    "
_ERRNOS = ("EPERM", "EIO", "EBUSY", "EAGAIN")
#: how far a variable may count
COUNTED = Range(0, 1_000_000)


def indented(lines: list[str]) -> list[str]:
    """The lines of a block."""
    return [_INDENT + line for line in lines]


def block(draw: Draw, env: Env, most: int = 3) -> list[str]:
    """Some statements, indented."""
    lines: list[str] = []
    for _ in range(draw.random.randint(1, most)):
        if draw.fuel > 0 or not lines:
            lines += draw.statement(env)
    return indented(lines)


def result(draw: Draw, env: Env) -> str:
    """What the function may return."""
    if env.returns in ("number", "maybe"):
        return f"u64({draw.number(env).text})"
    if env.returns == "truth":
        return draw.truth(env)
    verdicts = ["SEND_TO_USERSPACE", "SKIP_EVENT", "deny()", f"deny(errno.{draw.one(_ERRNOS)})"]
    draw.used.add("statement: Return of a verdict")
    if draw.chance(70):
        one, other = draw.random.sample(verdicts, 2)
        return f"{one} if {draw.truth(env)} else {other}"
    return draw.one(verdicts)


@construct("statement", 8, is_leaf=True)
def _new_number(draw: Draw, env: Env) -> list[str]:
    """Assignment of an integer to a new name."""
    name, found = draw.name("n"), draw.number(env)
    env.numbers[name] = found.range
    return [f"{name} = {found.text}"]


@construct("statement", 12, is_leaf=True)
def _new_variable(draw: Draw, env: Env) -> list[str]:
    """Declaration of a variable."""
    name, cast = draw.name("v"), draw.one(list(CASTS))
    value = f"{cast}({draw.number(env).text})"
    env.numbers[name] = CASTS[cast]
    env.variables[name] = cast
    return [f"{name}: {cast} = {value}"] if draw.chance(60) else [f"{name}: {cast}", f"{name} = {value}"]


@construct("statement", 5, is_leaf=True)
def _new_count(draw: Draw, env: Env) -> list[str]:
    """Variable that counts."""
    name = draw.name("c")
    env.numbers[name] = COUNTED
    env.counts.append(name)
    return [f"{name} = 0"]


@construct("statement", 25, is_leaf=True)
def _count(draw: Draw, env: Env) -> list[str] | None:
    """Counting."""
    return [f"{draw.one(env.counts)} += {draw.random.randint(1, 9)}"] if env.counts else None


@construct("statement", 25, is_leaf=True)
def _change(draw: Draw, env: Env) -> list[str] | None:
    """Assignment to a variable."""
    if not env.variables:
        return None
    name = draw.one(list(env.variables))
    cast = env.variables[name]
    operand = draw.one([name, str(an_integer(draw))])
    mixed = f"{operand} {draw.one(['+', '-', '*', '^', '|', '&'])} {draw.number(env).text}"
    return [f"{name} = {cast}({mixed})"]


@construct("statement", 12, is_leaf=True)
def _augmented(draw: Draw, env: Env) -> list[str] | None:
    """Augmented assignment."""
    names = [name for name, cast in env.variables.items() if cast.startswith("u")]
    if not names:
        return None
    name = draw.one(names)
    if draw.chance(40):
        return [f"{name} {draw.one(['//=', '%=', '>>='])} {draw.random.randint(1, 20)}"]
    return [f"{name} {draw.one(['^=', '|=', '&='])} {env.variables[name]}({draw.number(env).text})"]


@construct("statement", 6, is_leaf=True)
def _new_truth(draw: Draw, env: Env) -> list[str]:
    """Assignment of a truth to a new name."""
    name, found = draw.name("b"), draw.truth(env)
    env.truths.append(name)
    return [f"{name}: bool = {found}"] if draw.chance(20) else [f"{name} = {found}"]


@construct("statement", 6, is_leaf=True)
def _new_words(draw: Draw, env: Env) -> list[str]:
    """Assignment of bytes to a new name."""
    name, found = draw.name("t"), draw.words(env)
    env.texts[name] = replace(found, text=name)
    return [f"{name} = {found.text}"]


@construct("statement", 6, is_leaf=True)
def _taken_apart(draw: Draw, env: Env) -> list[str]:
    """Assignment of a tuple to several names."""
    (a, b), (x, y) = (draw.name("n"), draw.name("n")), (draw.number(env), draw.number(env))
    env.numbers.update({a: x.range, b: y.range})
    return [f"{a}, {b} = {x.text}, {y.text}"]


@construct("statement", 14, is_leaf=True)
def _guard(draw: Draw, env: Env) -> list[str]:
    """Return where a field is None."""
    name = draw.one(OPTIONAL)
    test = draw.one([f"event.{name} is None", f"event.{name} == None", f"not event.{name}"])
    lines = [f"if {test}:", f"{_INDENT}return {result(draw, env)}"]
    env.known |= {name}
    return lines


@construct("statement", 8, is_leaf=True)
def _optional_local(draw: Draw, env: Env) -> list[str]:
    """Variable that may be None, tested."""
    name, field = draw.name("o"), draw.one(OPTIONAL)
    default = "None" if draw.chance(40) else ""
    value = f"event.{field} if {draw.truth(env)} else None" if default else f"event.{field}"
    lines = [f"{name} = {value}", f"if {name} is None:", f"{_INDENT}return {result(draw, env)}"]
    if field in TEXTS:
        env.texts[name] = Words(name, TEXTS[field], is_of_event=True)
    else:
        env.numbers[name] = Range(0, (1 << FIELDS[field]) - 1)
    return lines


@construct("statement", 14)
def _if(draw: Draw, env: Env) -> list[str]:
    """If with elif and else."""
    lines = [f"if {draw.truth(env)}:", *block(draw, env.block())]
    for _ in range(draw.random.choice((0, 0, 1))):
        lines += [f"elif {draw.truth(env)}:", *block(draw, env.block())]
    if draw.chance(40):
        lines += ["else:", *block(draw, env.block())]
    return lines


@construct("statement", 12)
def _if_known(draw: Draw, env: Env) -> list[str]:
    """Block where a field is not None."""
    name = draw.one(OPTIONAL)
    if draw.chance(40):
        return [f"if event.{name} is None:", f"{_INDENT}pass", "else:", *block(draw, env.block(name), 4)]
    test = draw.one([f"event.{name} is not None", f"event.{name}", f"event.{name} and {draw.truth(env.knowing(name))}"])
    return [f"if {test}:", *block(draw, env.block(name), 4)]


@construct("statement", 5)
def _early(draw: Draw, env: Env) -> list[str]:
    """Return under a condition."""
    return [f"if {draw.truth(env)}:", f"{_INDENT}return {result(draw, env)}"]


@construct("statement", 2, is_leaf=True)
def _assert(draw: Draw, env: Env) -> list[str]:
    """Assertion, perhaps wrong."""
    return [f"assert {draw.truth(env)} or {draw.truth(env)}"]


@construct("statement", 5)
def _match_number(draw: Draw, env: Env) -> list[str]:
    """Match of an integer."""
    name = draw.name("m")
    subject = draw.number(env)
    inner = env.block()
    lines = [f"match {subject.text} & 7:", f"{_INDENT}case 0 | {draw.random.randint(1, 3)}:"]
    lines += indented(block(draw, env.block(), 2))
    if draw.chance(50):
        lines += [f"{_INDENT}case 4 if {draw.truth(env)}:", *indented(block(draw, env.block(), 2))]
    inner.numbers[name] = Range(0, 7)
    last = draw.one([f"case {name}:", f"case (5 | 6) as {name}:", f"case {name} if {name} > 4:"])
    return [*lines, _INDENT + last, *indented(block(draw, inner, 2))]


@construct("statement", 4)
def _match_words(draw: Draw, env: Env) -> list[str]:
    """Match of what may be None."""
    name = draw.one(OPTIONAL)
    first, second = (literal(draw).text for _ in range(2)) if name in TEXTS else (an_integer(draw) for _ in range(2))
    lines = [f"match event.{name}:", f"{_INDENT}case {first} | {second}:", *indented(block(draw, env.block(), 2))]
    lines += [f"{_INDENT}case None:", *indented(block(draw, env.block(), 2))]
    return [*lines, f"{_INDENT}case _:", *indented(block(draw, env.block(), 2))]

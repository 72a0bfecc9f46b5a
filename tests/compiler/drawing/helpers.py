"""Functions that handlers call."""

from fanotify_fastpath._compiler.ranges import U64

from .blocks import block, indented, result
from .draw import Draw, construct
from .env import Env, Number, Words

_MOST_CALLS = 3


def define(draw: Draw, returns: str) -> tuple[str, list[str]]:
    """
    Draw a function.

    :return: ``member`` or ``global``, and its lines
    """
    name, is_member = draw.name("helper"), draw.chance(50)
    env = Env(numbers={"a": U64}, texts={"t": Words("t", 255)}, returns=returns)
    body = block(draw, env, 4)
    if returns != "maybe":
        body += indented([f"return {result(draw, env)}"])
    arguments = "event, a, t" if draw.chance(50) else "event, a=5, *, t=b'ab'"
    given = "event, {a}, {t}" if "*" not in arguments else draw.one(["event, {a}, t={t}", "event, t={t}"])
    draw.helpers.setdefault(returns, []).append(f"self.{name}({given})" if is_member else f"{name}(self, {given})")
    return ("member" if is_member else "global"), [f"def {name}(self, {arguments}):", *body]


def _call(draw: Draw, env: Env, returns: str) -> str | None:
    """A call; each is written out in the compiled code, so that there are not many."""
    if env.n_loops or env.is_cheap or draw.n_calls >= _MOST_CALLS or not draw.helpers.get(returns):
        return None
    draw.n_calls += 1
    number, words = draw.number(env).text, draw.words(env).text
    return draw.one(draw.helpers[returns]).format(a=f"u64({number})", t=words)


@construct("number", 25)
def _number(draw: Draw, env: Env) -> Number | None:
    """Call of a function."""
    call = _call(draw, env, "number")
    return Number(call, U64) if call else None


@construct("truth", 25)
def _truth(draw: Draw, env: Env) -> str | None:
    """Call of a function."""
    return _call(draw, env, "truth")


@construct("statement", 25)
def _verdict(draw: Draw, env: Env) -> list[str] | None:
    """Verdict of a function."""
    if env.returns != "verdict" or env.n_blocks == 0:
        return None
    call = _call(draw, env, "verdict")
    return [f"return {call}"] if call else None


@construct("statement", 25)
def _maybe(draw: Draw, env: Env) -> list[str] | None:
    """What a function returns at its end or in its midst."""
    call = _call(draw, env, "maybe")
    if call is None:
        return None
    name = draw.name("n")
    lines = [f"{name} = {call}", f"if {name} is None:", f"    return {result(draw, env)}"]
    env.numbers[name] = U64
    return lines

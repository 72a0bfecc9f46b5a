"""Arithmetic of integers: exact, or modulo 2^64 where that is the same."""

import ast
from dataclasses import replace

from fanotify_fastpath._compiler import ranges
from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.ranges import Range
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Bool, Int

#: whose lowest 64 bits depend only on the lowest 64 bits of the operands
_RING = {
    ast.Add: ("add", ranges.add),
    ast.Sub: ("sub", ranges.subtract),
    ast.Mult: ("mul", ranges.multiply),
    ast.BitAnd: ("and", ranges.bit_and),
    ast.BitOr: ("or", ranges.bit_or),
    ast.BitXor: ("xor", ranges.bit_or),
}
_COMPARED = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_WORD = 1 << 64
#: by much more Python itself runs out of memory
_MAX_SHIFT = 4095


def constant(number: int) -> Int:
    """A known integer; of those beyond 64 bits the lowest."""
    return Int(Range(number, number), str((number + _WORD // 2) % _WORD - _WORD // 2))


def of_bool(scope: Scope, truth: Bool) -> Int:
    """0 or 1."""
    if truth.known is not None:
        return constant(int(truth.known))
    return Int(Range(0, 1), scope.code.op(f"zext i1 {truth.ir} to i64"))


def is_ring(operator: ast.operator) -> bool:
    """Whether operands need not be exact."""
    return type(operator) in _RING or isinstance(operator, ast.LShift)


#: by a comparison, the one that holds where it does not
OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def calculate(scope: Scope, node: ast.expr, operator: ast.operator, a: Int, b: Int) -> Int:
    """The result of a binary operator."""
    if type(operator) in _RING:
        name, bounds = _RING[type(operator)]
        found = bounds(a.range, b.range)
        return _made(scope, found, f"{name} i64 {a.ir}, {b.ir}")
    match operator:
        case ast.LShift():
            if b.range.hi > _MAX_SHIFT:
                raise Refusal(node, f"{ast.unparse(node)} may shift by {b.range.hi} bits: bound the number, & 63")
            return _shift_left(scope, a, b)
        case ast.RShift():
            return _shift_right(scope, a, b)
        case ast.FloorDiv():
            return _divide(scope, a, b, want_rest=False)
        case ast.Mod():
            return _divide(scope, a, b, want_rest=True)
        case ast.Div():
            raise Refusal(node, "/ gives a float, which the kernel has not: write //")
    raise Refusal(node, f"the operator of {ast.unparse(node)} cannot be compiled")


def cast(scope: Scope, value: Int, to: Range) -> Int:
    """Wrap into the range of a machine's integer."""
    if value.range in to:
        return plain(value)
    bits = (to.hi - to.lo).bit_length()
    if bits == 64:
        return Int(to, value.ir)
    small = scope.code.op(f"trunc i64 {value.ir} to i{bits}")
    return Int(to, scope.code.op(f"{'sext' if to.lo else 'zext'} i{bits} {small} to i64"))


def plain(value: Int) -> Int:
    """The same number, and no member of an enumeration."""
    return replace(value, range=replace(value.range, of_flag=False))


def negate(scope: Scope, a: Int) -> Int:
    """``-a``."""
    return _made(scope, ranges.negate(a.range), f"sub i64 0, {a.ir}")


def invert(scope: Scope, a: Int) -> Int:
    """``~a``."""
    return _made(scope, ranges.invert(a.range), f"xor i64 {a.ir}, -1")


def absolute(scope: Scope, a: Int) -> Int:
    """``abs(a)``."""
    if a.range.lo >= 0:
        return plain(a)
    is_negative = scope.code.op(f"icmp slt i64 {a.ir}, 0")
    opposite = scope.code.op(f"sub i64 0, {a.ir}")
    return _made(scope, ranges.absolute(a.range), f"select i1 {is_negative}, i64 {opposite}, i64 {a.ir}")


def extreme(scope: Scope, a: Int, b: Int, *, least: bool) -> Int:
    """``min(a, b)`` or ``max(a, b)``: the first of equal ones."""
    pick = min if least else max
    of_flag = a.range.of_flag or b.range.of_flag
    found = Range(pick(a.range.lo, b.range.lo), pick(a.range.hi, b.range.hi), of_flag)
    better = compare(scope, ast.Lt() if least else ast.Gt(), b, a)
    if better.known is not None:
        return b if better.known else a
    return _made(scope, found, f"select i1 {better.ir}, i64 {b.ir}, i64 {a.ir}")


def compare(scope: Scope, operator: ast.cmpop, a: Int, b: Int) -> Bool:
    """``a < b`` and the like, also of integers of which one may be negative and the other over 2^63."""
    decided = _decided(operator, a.range, b.range)
    if decided is not None:
        return Bool(decided, str(decided).lower())
    both = a.range.join(b.range)
    if isinstance(operator, ast.Eq | ast.NotEq):
        predicate = "eq" if isinstance(operator, ast.Eq) else "ne"
    else:
        predicate = ("u" if both.is_unsigned else "s") + _COMPARED[type(operator)]
    kind, left, right = "i64", a.ir, b.ir
    if not both.is_signed and not both.is_unsigned:
        kind, left, right = "i128", _wide(scope, a), _wide(scope, b)
    return Bool(None, scope.code.op(f"icmp {predicate} {kind} {left}, {right}"))


def truth(scope: Scope, a: Int) -> Bool:
    """``bool(a)``."""
    return compare(scope, ast.NotEq(), a, constant(0))


def narrowed(operator: ast.cmpop, a: Range, b: Range) -> Range | None:
    """What *a* is where the comparison holds; None: it cannot."""
    match operator:
        case ast.Lt():
            return a.meet(a.lo, b.hi - 1)
        case ast.LtE():
            return a.meet(a.lo, b.hi)
        case ast.Gt():
            return a.meet(b.lo + 1, a.hi)
        case ast.GtE():
            return a.meet(b.lo, a.hi)
        case ast.Eq():
            return a.meet(b.lo, b.hi)
        case ast.NotEq() if b.known is not None:
            return a.meet(a.lo + (a.lo == b.lo), a.hi - (a.hi == b.hi))
    return a


def _decided(operator: ast.cmpop, a: Range, b: Range) -> bool | None:
    """What a comparison gives whatever the values are."""
    if narrowed(operator, a, b) is None:
        return False
    if narrowed(OPPOSITE[type(operator)](), a, b) is None:
        return True
    return None


def _wide(scope: Scope, a: Int) -> str:
    return scope.code.op(f"{'sext' if a.range.is_signed else 'zext'} i64 {a.ir} to i128")


def _made(scope: Scope, found: Range, instruction: str) -> Int:
    """The result, without an instruction if it is known."""
    return constant(found.lo) if found.known is not None else Int(found, scope.code.op(instruction))


def _shift_left(scope: Scope, a: Int, b: Int) -> Int:
    _fail_if_negative(scope, b)
    found = ranges.shift_left(a.range, b.range)
    amount = _up_to_63(scope, b)
    shifted = _made(scope, found, f"shl i64 {a.ir}, {amount}")
    return _over_63(scope, b, shifted, "0")


def _shift_right(scope: Scope, a: Int, b: Int) -> Int:
    _fail_if_negative(scope, b)
    found = ranges.shift_right(a.range, b.range)
    amount = _up_to_63(scope, b)
    if a.range.lo < 0:
        return _made(scope, found, f"ashr i64 {a.ir}, {amount}")
    return _over_63(scope, b, _made(scope, found, f"lshr i64 {a.ir}, {amount}"), "0")


def _up_to_63(scope: Scope, b: Int) -> str:
    if b.range.hi <= 63 and b.range.lo >= 0:
        return b.ir
    return scope.code.op(f"call i64 @llvm.umin.i64(i64 {b.ir}, i64 63)")


def _over_63(scope: Scope, b: Int, shifted: Int, otherwise: str) -> Int:
    if b.range.hi <= 63 or shifted.range.known is not None:
        return shifted
    over = scope.code.op(f"icmp ugt i64 {b.ir}, 63")
    return Int(shifted.range, scope.code.op(f"select i1 {over}, i64 {otherwise}, i64 {shifted.ir}"))


def _fail_if_negative(scope: Scope, b: Int) -> None:
    if b.range.lo < 0:
        scope.code.fail_if(scope.code.op(f"icmp slt i64 {b.ir}, 0"))


def _divide(scope: Scope, a: Int, b: Int, *, want_rest: bool) -> Int:
    """``a // b`` or ``a % b``. The machine divides only what has no sign, so that the signs are put on afterwards."""
    code = scope.code
    if b.range.lo <= 0 <= b.range.hi:
        code.fail_if(code.op(f"icmp eq i64 {b.ir}, 0"))
    found = (ranges.modulo if want_rest else ranges.floor_divide)(a.range, b.range)
    if a.range.lo >= 0 and b.range.lo >= 0:
        return _made(scope, found, f"{'urem' if want_rest else 'udiv'} i64 {a.ir}, {b.ir}")
    dividend, divisor = absolute(scope, a).ir, absolute(scope, b).ir
    a_negative, b_negative = _is_negative(scope, a), _is_negative(scope, b)
    differ = code.op(f"xor i1 {a_negative}, {b_negative}")
    rest = code.op(f"urem i64 {dividend}, {divisor}")
    has_rest = code.op(f"icmp ne i64 {rest}, 0")
    if want_rest:
        other = code.op(f"sub i64 {divisor}, {rest}")
        turned = code.op(f"select i1 {code.op(f'and i1 {differ}, {has_rest}')}, i64 {other}, i64 {rest}")
        return _made(scope, found, f"select i1 {b_negative}, i64 {code.op(f'sub i64 0, {turned}')}, i64 {turned}")
    quotient = code.op(f"udiv i64 {dividend}, {divisor}")
    up = code.op(f"add i64 {quotient}, {code.op(f'zext i1 {has_rest} to i64')}")
    return _made(scope, found, f"select i1 {differ}, i64 {code.op(f'sub i64 0, {up}')}, i64 {quotient}")


def _is_negative(scope: Scope, a: Int) -> str:
    return scope.code.op(f"icmp slt i64 {a.ir}, 0") if a.range.lo < 0 else "false"

"""Syntax that is not compiled: how people call it, and what to write instead."""

import ast

_LOOP = "write a loop over a list of the handler, a tuple or range()"
_METHOD = "write a method or a function of the module"
_TUPLE = "write a tuple"
_BEFORE = "do it in init()"

#: by the kind of syntax
_SAID: dict[type[ast.AST], tuple[str, str]] = {
    ast.AsyncFor: ("async for", _LOOP),
    ast.AsyncFunctionDef: ("async def", _METHOD),
    ast.AsyncWith: ("async with", _BEFORE),
    ast.Await: ("await", _BEFORE),
    ast.ClassDef: ("a class inside of a function", "write it outside"),
    ast.Delete: ("del", "leave it out"),
    ast.Dict: ("a dict", "keep numbers in a StateMap"),
    ast.DictComp: ("a dict comprehension", "keep numbers in a StateMap"),
    ast.FunctionDef: ("a function inside of a function", _METHOD),
    ast.GeneratorExp: ("a generator expression", "it is compiled in any() and all()"),
    ast.Global: ("global", "what changes is state: Counter or StateMap"),
    ast.Import: ("import inside of a function", "import at the beginning of the file"),
    ast.ImportFrom: ("import inside of a function", "import at the beginning of the file"),
    ast.JoinedStr: ("an f-string", "compare bytes"),
    ast.Lambda: ("lambda", _METHOD),
    ast.List: ("a list", _TUPLE),
    ast.ListComp: ("a list comprehension", _LOOP),
    ast.NamedExpr: ("an assignment inside of an expression", "assign in a line of its own"),
    ast.Nonlocal: ("nonlocal", "what changes is state: Counter or StateMap"),
    ast.Raise: ("raise", "return SEND_TO_USERSPACE, or assert"),
    ast.Set: ("a set", _TUPLE),
    ast.SetComp: ("a set comprehension", _LOOP),
    ast.Starred: ("a star", "write each item"),
    ast.Try: ("try", "test before what could raise"),
    ast.TryStar: ("try", "test before what could raise"),
    ast.While: ("while", "write a for loop over range(), and break"),
    ast.With: ("with", _BEFORE),
    ast.Yield: ("yield", "return a verdict"),
    ast.YieldFrom: ("yield from", "return a verdict"),
}


def not_compiled(node: ast.AST) -> str:
    """Why a piece of syntax is refused."""
    name, advice = _SAID.get(type(node), (type(node).__name__.lower(), "write it otherwise"))
    return f"{name} cannot be compiled: {advice}"

"""``any`` and ``all`` of a generator expression: loops."""

import ast

from fanotify_fastpath._compiler.diagnostics import Refusal
from fanotify_fastpath._compiler.flow import INNER
from fanotify_fastpath._compiler.scope import Scope
from fanotify_fastpath._compiler.values import Value


def quantified(scope: Scope, node: ast.Call, *, is_any: bool) -> Value:
    """The loop that ends as soon as the answer is known, and its answer."""
    name = "any" if is_any else "all"
    (argument,) = node.args if len(node.args) == 1 else (None,)
    if not isinstance(argument, ast.GeneratorExp) or len(argument.generators) != 1 or node.keywords:
        raise Refusal(node, f"{name}() is compiled with one generator expression, over one thing")
    generator = argument.generators[0]
    for each in ast.walk(generator.target):
        if isinstance(each, ast.Name) and each.id in scope.frame.locals:
            raise Refusal(each, f"{each.id} is a variable of the function too: use another name")
    key = f"{INNER}{scope.code.name(name)}"
    test = argument.elt if is_any else ast.UnaryOp(ast.Not(), argument.elt)
    found: ast.stmt = ast.If(test, [_assigned(key, is_any), ast.Break()], [])
    for condition in reversed(generator.ifs):
        found = ast.If(condition, [found], [])
    loop = ast.For(generator.target, generator.iter, [found], [])
    body = [_assigned(key, not is_any), loop]
    scope.run([ast.fix_missing_locations(ast.copy_location(each, node)) for each in body])
    return scope.load(scope.frame.key + key)


def _assigned(key: str, truth: bool) -> ast.stmt:
    return ast.Assign([ast.Name(key, ast.Store())], ast.Constant(truth))

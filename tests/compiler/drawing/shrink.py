"""
Find out what matters in a program that failed: leave out and simplify as long as it still fails.

From the checkout, compiled for this machine instead of the kernel::

    PYTHONPATH=tests .venv/bin/python -m compiler.drawing.shrink SEED...
"""

import ast
import copy
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fanotify_fastpath.errors import FastpathError

from .comparing import N_EVENTS, difference, expect, source
from .events import Event, draw_events
from .natively import start
from .program import Program, draw_program

_PARTS = ("body", "members", "globals_")
_LEAVES = (0, 1, True, False, b"", b"a")


def shrink(program: Program, events: list[Event]) -> tuple[Program, str] | None:
    """
    Shrink a program.

    :return: the smallest found, and what differs; None if nothing does
    """
    said = _fails(program, events)
    if said is None:
        return None
    while True:
        for smaller in _smaller(program):
            now = _fails(smaller, events)
            if now is not None:
                program, said = smaller, now
                break
        else:
            return program, said


def _fails(program: Program, events: list[Event]) -> str | None:
    try:
        return difference(expect("", program, events), start)
    except (FastpathError, SyntaxError, TypeError, AttributeError, NameError):
        return None


def _smaller(program: Program) -> Iterator[Program]:
    for part in _PARTS:
        for tree in _simpler(ast.parse("\n".join(getattr(program, part)))):
            text = ast.unparse(ast.fix_missing_locations(tree))
            changed: dict[str, Any] = {part: tuple(text.splitlines())}
            yield replace(program, **changed)


def _simpler(tree: ast.Module) -> Iterator[ast.Module]:
    """Trees with one place simplified."""
    for n, node in enumerate(ast.walk(tree)):
        for field, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt | ast.match_case | ast.expr):
                for at in range(len(value)):
                    for others in _instead(value[at]):
                        yield _changed(tree, n, field, [*value[:at], *others, *value[at + 1 :]])
            elif isinstance(value, ast.expr) and field != "func":
                for other in _instead(value):
                    if other:
                        yield _changed(tree, n, field, other[0])


def _instead(node: ast.AST) -> Iterator[Sequence[ast.AST]]:
    """What a statement or an expression may be replaced by."""
    if isinstance(node, ast.stmt | ast.match_case):
        yield []
        for name in ("body", "orelse"):
            if getattr(node, name, None) and not isinstance(node, ast.FunctionDef):
                yield getattr(node, name)
    elif isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
        yield from ([child] for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
        yield from ([ast.Constant(leaf)] for leaf in _LEAVES)


def _changed(tree: ast.Module, n: int, field: str, value: object) -> ast.Module:
    changed = copy.deepcopy(tree)
    setattr(list(ast.walk(changed))[n], field, copy.deepcopy(value))
    return changed


def main(seeds: list[str]) -> int:
    """Print what is left of each program; 1 if one does not fail."""
    warnings.simplefilter("ignore")  # of what is made up on the way
    passed = 0
    for seed in seeds:
        program = draw_program(seed)
        found = shrink(program, draw_events(program, seed, N_EVENTS))
        print(f"{seed!r}:", "passes" if found is None else f"{found[1]}\n{source(found[0])}")
        passed += found is None
    return int(passed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
